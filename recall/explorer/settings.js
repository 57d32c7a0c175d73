// The playground's settings: their limits, the address of a view, and what they are in words.

const NAMES = ["run", "step", "systems", "needle", "length", "shown", "fresh", "equal_norm", "share", "cut", "seed"];
const BASE_SEED = 0; // the prompt that came with the widget; others are drawn here

const runOf = (model) => model.get("catalogue").find((run) => run.name === model.get("run"));
const longest = (run, systems) => Math.min(16, Math.floor((run.positions - run.dimension - 4) / systems) - 2);
const shortest = (run) => run.dimension + 2; // fewer would not determine a map
const upTo = (count) => Array.from({ length: count }, (_, i) => i);
const most = (run) => {
  const counts = upTo(Math.min(run.labels, LETTERS.length)).map((i) => i + 1);
  return Math.max(1, ...counts.filter((N) => longest(run, N) >= shortest(run)));
};
const partsOf = (run) =>
  upTo(run.layers).flatMap((layer) => [...upTo(run.heads).map((head) => `${layer}.${head}`), `${layer}.mlp`]);

// Brings every setting into its range; returns what had to be changed, in words.
function settle(model) {
  const notes = [];
  const put = (name, value, why) => {
    if (model.get(name) === value) return;
    if (why) notes.push(why);
    model.set(name, value);
  };
  const asked = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
  if (!runOf(model)) put("run", model.get("catalogue")[0].name, `there is no model ${asked.run}`);
  const run = runOf(model);
  const between = (name, low, high, why) =>
    put(name, Math.max(low, Math.min(high, Math.round(asked[name]) || low)), why);
  if (!run.steps.includes(asked.step)) {
    const far = (step) => Math.abs(step - asked.step);
    const near = run.steps.reduce((best, step) => (far(step) < far(best) ? step : best));
    const several = `this model is here at steps ${run.steps.join(", ")}: showing ${near}`;
    put("step", near, run.steps.length > 1 ? several : `of this model only step ${near} is here`);
  }
  const reads = `this model knows ${run.labels} labels and reads ${run.positions} rows`;
  between("systems", 1, most(run), `${reads}: at most ${most(run)} systems, not ${asked.systems}`);
  const N = model.get("systems");
  const [low, high] = [shortest(run), longest(run, N)];
  between(
    "length",
    low,
    high,
    `segments of ${asked.length} states are not to be had here: ${low} to ${high} with ${N} systems ` +
      `(fewer would not determine a map, more would not fit the ${run.positions} rows the model reads)`,
  );
  between("needle", 0, N - 1, `there is no segment ${asked.needle} to come back`);
  const needle = model.get("needle");
  if (asked.shown >= N) put("shown", needle, `there is no segment ${asked.shown} whose label could be shown`);
  if (model.get("shown") < 0 && N >= run.labels) {
    put("shown", needle, `every one of the ${run.labels} labels is in the prompt: there is no unseen one`);
  }
  if ((N < 2 || run.dimension < 2) && asked.share > 0) {
    put("share", 0, "one system alone has nothing to be synchronised with");
  }
  const all = partsOf(run);
  const parts = asked.cut.filter((part, i) => all.includes(part) && asked.cut.indexOf(part) === i);
  if (parts.length !== asked.cut.length) put("cut", parts, `parts are ${all[0]} to ${all.at(-1)}`);
  return notes;
}

// What a prompt is made from, and what is cut: `settings` of core().
function settingsOf(model) {
  const { dimension, labels } = runOf(model);
  const given = NAMES.filter((name) => name !== "run" && name !== "step").map((name) => [name, model.get(name)]);
  return { ...Object.fromEntries(given), dimension, labels };
}

// The prompt that came along, while it can be used.
function baseOf(model) {
  const first = model.get("first");
  const run = runOf(model);
  const fits =
    first?.base &&
    model.get("seed") === BASE_SEED &&
    first.dimension === run.dimension &&
    first.labels === run.labels &&
    model.get("systems") <= first.base.systems.length;
  return fits ? first.base : null;
}

// ------------------------------------------------------------------------------------------------- the address of a view

// #play:run=…&systems=3
function toFragment(model) {
  const written = (value) => (Array.isArray(value) ? value.join("+") : value);
  return `#play:${NAMES.map((name) => `${name}=${written(model.get(name))}`).join("&")}`;
}

// Sets what an address says; returns complaints.
function fromFragment(model, fragment) {
  if (!fragment.startsWith("#play:")) return [];
  let text;
  try {
    text = decodeURIComponent(fragment.slice(6));
  } catch {
    return ["the link is damaged: it cannot be decoded"];
  }
  const complaints = [];
  for (const part of text.split("&").filter(Boolean)) {
    const [name, value = ""] = part.split("=");
    if (!NAMES.includes(name)) {
      complaints.push(`the link sets "${name}", which is not a setting here`);
      continue;
    }
    const [allowed, meant, must] = readSetting(model, name, value);
    if (allowed) model.set(name, meant);
    else complaints.push(`the link's ${name} must be ${must}, not "${value}"`);
  }
  return complaints;
}

// Whether the text is a value of the setting, the value, and what it must be.
function readSetting(model, name, value) {
  const number = Number(value);
  const whole = value !== "" && Number.isInteger(number);
  switch (name) {
    case "run":
      return [model.get("catalogue").some((each) => each.name === value), value, "a model of this page"];
    case "fresh":
    case "equal_norm":
      return [["true", "false"].includes(value), value === "true", "true or false"];
    case "share":
      return [value !== "" && number >= 0 && number <= 1, number, "0 to 1"];
    case "shown":
      return [whole && number >= -1, number, "a segment, or -1 for an unseen label"];
    case "cut": {
      const all = partsOf(runOf(model));
      const parts = value.split("+").filter(Boolean);
      return [parts.every((each) => all.includes(each)), parts, `parts such as ${all[0]} or 0.mlp`];
    }
    default:
      return [whole && number >= 0, number, "a whole number"];
  }
}

// ------------------------------------------------------------------------------------------------------------- in words

// What is set, and what the model made of it: stats as `pool` of core() reads them.
function sentence(stats, settings) {
  const { systems: N, shown: named } = settings;
  const going = settings.fresh ? -1 : settings.needle;
  const label = named < 0 ? "The label is one that the prompt does not hold" : `The label is ${LETTERS[named]}'s`;
  const setting = `${label}; ${settings.fresh ? "a new system comes" : `${LETTERS[going]} goes on`}.`;
  if (!stats) return setting;
  const place = (k) => whither(stats.weights[k], k, named, going);
  const known = N > 1 ? ` The first answer ${place(0)}; the second ${place(1)}.` : "";
  const [first, second] = stats.error.model.map((each) => each.mean.toFixed(2));
  return `${setting}${known} Squared error ${first} at k = 1, ${second} at k = 2 (mean of ${stats.count} fresh prompts).`;
}

// Where an answer goes; k = 0: from the label alone, no state has been seen yet.
function whither(weights, k, named, going) {
  const total = weights.reduce((a, b) => a + b, 0);
  const best = weights.indexOf(Math.max(...weights));
  if (weights[best] < 0.25 && Math.abs(total) < 0.4) return "points at none of them";
  if (weights[best] > 0.7) return `goes to ${LETTERS[best]}${reason(best, k, named, going)}`;
  const near = weights.map((weight, i) => [weight, LETTERS[i]]).filter(([weight]) => weight > 0.15);
  const names = near.map(([weight, letter]) => `${letter} (${weight.toFixed(2)})`);
  if (!names.length) return "is spread over all of them";
  if (names.length === 1) return `goes part of the way to ${names[0]}`;
  return `lies between ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

function reason(best, k, named, going) {
  if (best === named) return best === going && k ? ", as label and states say" : ", as the label says";
  if (best !== going) return "";
  return k ? ", as the states say" : ", although the label is not its own";
}
