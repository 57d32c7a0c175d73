// The worker in which the transformer computes, and how the weights get there.

const FRESH = 200; // prompts of a running average
let asked = 0;

function serve(recall) {
  const models = new Map();
  let latest = 0;
  const { port1, port2 } = new MessageChannel();
  const breathe = () =>
    new Promise((resume) => {
      port1.onmessage = resume;
      port2.postMessage(0);
    });
  self.onmessage = async ({ data: { id, key, weights, settings, base, count } }) => {
    if (weights) models.set(key, recall.unpack(weights));
    if (!id) return;
    latest = id;
    try {
      const model = await models.get(key);
      const first = recall.answer(model, settings, base || undefined);
      if (id !== latest) return;
      self.postMessage({ id, first });
      const pool = recall.pool(first.truth.length, settings.systems);
      for (let i = 1, told = performance.now(); i <= count; i++) {
        pool.add(recall.answer(model, { ...settings, seed: 1e6 + i }, undefined, true));
        if (i !== count && i !== 10 && i !== 50 && performance.now() - told < 90) continue; // soon, then about eleven times a second
        await breathe();
        if (id !== latest) return;
        told = performance.now();
        self.postMessage({ id, stats: pool.read(first.named) });
      }
    } catch (error) {
      self.postMessage({ id, failed: String(error) });
    }
  };
}

// asks the worker; only the latest question is answered
class Answers {
  constructor(model) {
    this.model = model;
    this.sent = new Set();
    this.id = 0;
    this.url = URL.createObjectURL(new Blob([`(${serve})((${core})())`], { type: "text/javascript" }));
    this.worker = new Worker(this.url);
    this.worker.onmessage = ({ data }) => {
      if (data.id === this.id) this.tell(data);
    };
    this.worker.onerror = (event) => {
      this.broken = event.message || "this browser starts no worker here";
      this.tell?.({ failed: this.broken });
    };
  }

  // Weights go to the worker once.
  async fetch(key) {
    if (this.sent.has(key)) return;
    const weights = await weightsOf(this.model, key);
    if (this.sent.has(key)) return;
    this.worker.postMessage({ key, weights });
    this.sent.add(key);
  }

  async ask(key, settings, base, tell, count = FRESH) {
    const id = ++this.id;
    this.tell = tell;
    if (this.broken) return tell({ failed: this.broken });
    try {
      await this.fetch(key);
    } catch (error) {
      if (id === this.id) tell({ failed: `the weights of ${key} could not be loaded (${error.message})` });
      return;
    }
    if (id === this.id) this.worker.postMessage({ id, key, settings, base, count });
  }

  close() {
    this.worker.terminate();
    URL.revokeObjectURL(this.url);
  }
}

// Bytes of a checkpoint: a page has a script of its own for each, in JupyterLab the kernel sends them.
async function weightsOf(model, key) {
  if (model.load) return Uint8Array.from(atob(await model.load(key)), (c) => c.charCodeAt(0));
  const held = () => {
    const packed = model.get("weights");
    return model.get("answered") === key && packed?.byteLength
      ? new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength).slice()
      : null;
  };
  return (
    held() ||
    new Promise((resolve, reject) => {
      const names = ["change:weights", "change:answered", "change:trouble"];
      const heard = () => {
        const packed = held();
        const trouble = model.get("trouble");
        if (!packed && !trouble) return;
        names.forEach((name) => model.off(name, heard));
        if (packed) resolve(packed);
        else reject(new Error(trouble));
      };
      names.forEach((name) => model.on(name, heard));
      model.set("trouble", "");
      model.set("asked", `${key}#${++asked}`); // counted, so that asking again for the same one is a change
      model.save_changes();
    })
  );
}
