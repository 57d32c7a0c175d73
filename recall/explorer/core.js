// Everything that computes and nothing that draws: prompts from a seeded generator, their edits, reference predictors and
// the transformer.  One function, because a page and its worker both need it and a page opened from a folder (file://) can
// only give a worker source text.  Arrays of states are [time][n]; activations are flat Float32Arrays, row after row.

function core() {
  const LABEL_VALUE = Math.SQRT2;
  const MATCH = 1e-2;
  const TOLERANCE = 1e-4; // as in recall.predictors
  const INDEPENDENT = 3e-5; // share of a state that is new, below which a pair adds nothing to a fitted map; as RTOL there

  // ------------------------------------------------------------------------------------------------------ randomness

  // mulberry32
  function random(seed) {
    let a = seed >>> 0;
    const uniform = () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    const integer = (low, high) => low + Math.floor(uniform() * (high - low + 1));
    const shuffled = (count) => {
      const order = Array.from({ length: count }, (_, i) => i);
      for (let i = count - 1; i > 0; i--) {
        const j = integer(0, i);
        [order[i], order[j]] = [order[j], order[i]];
      }
      return order;
    };
    return { uniform, normal, integer, shuffled };
  }

  // ---------------------------------------------------------------------------------------------------------- systems

  const dot = (u, v) => u.reduce((sum, x, i) => sum + x * v[i], 0);
  const norm = (v) => Math.hypot(...v);
  const scaled = (v, factor) => v.map((x) => x * factor);
  const plus = (u, v) => u.map((x, i) => x + v[i]);
  const minus = (u, v) => u.map((x, i) => x - v[i]);
  const squared = (v) => dot(v, v);
  const times = (U, x) => U.map((row) => dot(row, x));
  const transposed = (U) => U[0].map((_, j) => U.map((row) => row[j]));

  // Gram-Schmidt on Gaussian columns is QR with a positive diagonal of R, hence uniform on O(n)
  function haar(n, rng) {
    const columns = [];
    for (let j = 0; j < n; j++) {
      const v = Array.from({ length: n }, rng.normal);
      for (const u of columns) {
        const overlap = dot(u, v);
        u.forEach((x, i) => {
          v[i] -= overlap * x;
        });
      }
      columns.push(scaled(v, 1 / norm(v)));
    }
    return transposed(columns);
  }

  const firstState = (n, rng) => Array.from({ length: n }, () => rng.normal() / Math.sqrt(n));
  const system = (n, rng) => ({ U: haar(n, rng), x0: firstState(n, rng) });

  function rollout({ U, x0 }, steps) {
    const states = [x0];
    while (states.length < steps) states.push(times(U, states.at(-1)));
    return states;
  }

  // U is orthogonal: its transpose undoes it
  function before(U, state, steps) {
    const back = transposed(U);
    for (let i = 0; i < steps; i++) state = times(back, state);
    return state;
  }

  // directions along the great circle, norms in proportion
  function between(a, b, share) {
    const [la, lb] = [norm(a), norm(b)];
    const u = scaled(a, 1 / la);
    const v = scaled(b, 1 / lb);
    const angle = 2 * Math.atan2(norm(minus(u, v)), norm(plus(u, v)));
    const weight = (part) => (angle > 1e-4 ? Math.sin(part * angle) / Math.sin(angle) : part);
    const way = plus(scaled(u, weight(1 - share)), scaled(v, weight(share)));
    return scaled(way, ((1 - share) * la + share * lb) / norm(way));
  }

  // ---------------------------------------------------------------------------------------------------------- prompts

  // What a prompt is drawn from: `systems` of them, one that is not in the haystack, and all labels in random order.
  function draw({ dimension, labels, systems, seed }) {
    const rng = random(Math.imul(seed, 7919) + dimension * 131 + labels * 17);
    const names = rng.shuffled(labels);
    const fresh = system(dimension, rng);
    return { systems: Array.from({ length: systems }, () => system(dimension, rng)), fresh, names };
  }

  // A needle prompt: segments of `length` observations, then the query.  shown: segment whose label the query shows, or -1 for
  // a label that the prompt does not hold.  fresh: a new system comes instead of the needle's.  equal_norm, share: as the
  // interventions equal-norm and synchronised.
  function prompt({ dimension: n, labels, systems: N, needle, length, shown, fresh, equal_norm, share }, base) {
    const payload = n + 3;
    const names = base.names;
    let used = base.systems.slice(0, N);
    const own = used[needle];
    if (equal_norm) used = used.map(({ U, x0 }) => ({ U, x0: scaled(x0, norm(own.x0) / norm(x0)) }));
    if (share > 0) {
      const common = rollout(own, length + 1).at(-1);
      used = used.map(({ U, x0 }, i) =>
        i === needle
          ? own
          : { U, x0: before(U, between(rollout({ U, x0 }, length + 1).at(-1), common, share), length) },
      );
    }
    const observations = used.map((each) => rollout(each, length + payload));
    if (fresh) observations.push(rollout(base.fresh, length + payload));
    const segments = used.map((_, i) => ({
      system: i,
      label: names[i],
      start: 1 + (length + 2) * i,
      length,
      first: 0,
    }));
    segments.push({
      system: fresh ? N : needle,
      label: names[shown < 0 ? N : shown],
      start: 1 + (length + 2) * N,
      length: payload,
      first: fresh ? 0 : length,
    });
    const rows = 2 + (length + 2) * N + payload;
    return {
      rows,
      labels,
      dimension: n,
      segments,
      observations,
      query: segments[N].start,
      tokens: layOut(rows, labels, n, segments, observations),
    };
  }

  function layOut(rows, labels, n, segments, observations) {
    const tokens = Array.from({ length: rows }, () => Array(2 * labels + 2 + n).fill(0));
    tokens[0][2 * labels] = LABEL_VALUE;
    for (const { system, label, start, length, first } of segments) {
      const put = (row, write) => {
        if (row < rows) write(tokens[row]);
      };
      put(start, (token) => {
        token[2 * label] = LABEL_VALUE;
      });
      for (let k = 0; k < length; k++) {
        put(start + 1 + k, (token) => {
          token[2 * labels + 1] = 1;
          observations[system][first + k].forEach((value, i) => {
            token[2 * labels + 2 + i] = value;
          });
        });
      }
      put(start + 1 + length, (token) => {
        token[2 * label + 1] = LABEL_VALUE;
      });
    }
    return tokens;
  }

  // ------------------------------------------------------------------------------------------------ reference predictors

  // Y X^+ of successive states, as a function: an orthonormal basis of the inputs, and where each member of it goes.
  function fit(states) {
    const n = states[0].length;
    const basis = [];
    for (let t = 0; t + 1 < states.length && basis.length < n; t++) {
      let q = states[t];
      let image = states[t + 1];
      const size = norm(q);
      for (let round = 0; round < 2; round++) {
        // a second round takes away what rounding left
        for (const [p, moved] of basis) {
          const overlap = dot(p, q);
          q = minus(q, scaled(p, overlap));
          image = minus(image, scaled(moved, overlap));
        }
      }
      if (norm(q) > INDEPENDENT * size) basis.push([scaled(q, 1 / norm(q)), scaled(image, 1 / norm(q))]);
    }
    return (x) => basis.reduce((sum, [p, moved]) => plus(sum, scaled(moved, dot(p, x))), Array(n).fill(0));
  }

  // Answers [K][n] after the query of one who believes the label (recall.predictors.Named) and of one who looks at the states
  // (Match); and where every candidate would go: candidates [K][N][n], of the label's system also unseen, named [K][n] or null.
  function references(prompt) {
    const { segments, observations, dimension: n } = prompt;
    const haystack = segments.slice(0, -1);
    const query = segments.at(-1);
    const K = query.length;
    const truth = observations[query.system].slice(query.first, query.first + K);
    const seen = haystack.map((s) => observations[s.system].slice(0, s.length));
    const maps = seen.map(fit);
    const next = seen.map((states, i) => maps[i](states.at(-1)));
    const named = haystack.findIndex((s) => s.label === query.label);
    const error = maps.map(() => 0);
    const byLabel = [];
    const byState = [];
    const candidates = [];
    const alone = [];
    let unseen = named < 0 ? null : next[named];
    for (let k = 0; k < K; k++) {
      const would = k ? maps.map((map) => map(truth[k - 1])) : next;
      const freshly = k ? fit(truth.slice(0, k))(truth[k - 1]) : Array(n).fill(0);
      if (k)
        maps.forEach((map, i) => {
          error[i] += squared(minus(k > 1 ? map(truth[k - 2]) : next[i], truth[k - 1]));
        });
      const weight = error.map((e) => (k ? (e < MATCH ? Math.exp(-e / (2 * TOLERANCE)) : 0) : 1));
      const total = weight.reduce((a, b) => a + b, 0);
      byLabel.push(named < 0 ? freshly : would[named]);
      byState.push(
        total > 0 ? would.reduce((sum, x, i) => plus(sum, scaled(x, weight[i] / total)), Array(n).fill(0)) : freshly,
      );
      candidates.push(would);
      alone.push(k && named >= 0 ? (unseen = maps[named](unseen)) : null);
    }
    return { truth, byLabel, byState, candidates, alone, named };
  }

  // ------------------------------------------------------------------------------------------------------ transformer

  // A checkpoint as recall.explorer packs it: length of a JSON header, the header, and the half-precision weights with their
  // low bytes before their high bytes, deflated (they shrink by a seventh).
  async function unpack(packed) {
    const size = new DataView(packed.buffer, packed.byteOffset).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(packed.subarray(4, 4 + size)));
    const stream = new Blob([packed.subarray(4 + size)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = planes.length / 2;
    const weights = {};
    let at = 0;
    for (const [name, length] of header.tensors) {
      weights[name] = Float32Array.from({ length }, (_, i) => half(planes[at + i] | (planes[count + at + i] << 8)));
      at += length;
    }
    return { ...header.config, weights };
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }

  // out[t] = W x[t] + b for T rows.  Two rows and four outputs at a time: each weight and each input is read fewer times.
  function linear(x, T, weight, bias, add) {
    const O = bias.length;
    const I = weight.length / O;
    const out = add || new Float32Array(T * O);
    for (let t = 0; t < T; t += 2) {
      const p = t * I;
      const q = t + 1 < T ? p + I : p;
      for (let o = 0; o < O; o += 4) {
        const left = Math.min(4, O - o);
        const w0 = o * I;
        const w1 = w0 + (left > 1 ? I : 0);
        const w2 = w0 + (left > 2 ? 2 * I : 0);
        const w3 = w0 + (left > 3 ? 3 * I : 0);
        let a0 = 0;
        let a1 = 0;
        let a2 = 0;
        let a3 = 0;
        let b0 = 0;
        let b1 = 0;
        let b2 = 0;
        let b3 = 0;
        for (let i = 0; i < I; i++) {
          const u = x[p + i];
          const v = x[q + i];
          const c0 = weight[w0 + i];
          const c1 = weight[w1 + i];
          const c2 = weight[w2 + i];
          const c3 = weight[w3 + i];
          a0 += c0 * u;
          a1 += c1 * u;
          a2 += c2 * u;
          a3 += c3 * u;
          b0 += c0 * v;
          b1 += c1 * v;
          b2 += c2 * v;
          b3 += c3 * v;
        }
        for (let r = 0; r < (t + 1 < T ? 2 : 1); r++) {
          const row = (t + r) * O + o;
          const sums = r ? [b0, b1, b2, b3] : [a0, a1, a2, a3];
          for (let j = 0; j < left; j++) out[row + j] += sums[j] + bias[o + j];
        }
      }
    }
    return out;
  }

  function layerNorm(x, T, weight, bias) {
    const D = weight.length;
    const out = new Float32Array(T * D);
    for (let t = 0; t < T; t++) {
      let mean = 0;
      let variance = 0;
      for (let i = 0; i < D; i++) mean += x[t * D + i] / D;
      for (let i = 0; i < D; i++) variance += (x[t * D + i] - mean) ** 2 / D;
      const scale = 1 / Math.sqrt(variance + 1e-5); // PyTorch's epsilon
      for (let i = 0; i < D; i++) out[t * D + i] = (x[t * D + i] - mean) * scale * weight[i] + bias[i];
    }
    return out;
  }

  const ACTIVATIONS = {
    silu: (x) => x / (1 + Math.exp(-x)),
    relu: (x) => Math.max(0, x),
    gelu_new: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  };

  // [T, 3D] -> heads side by side [T, D], of the rows from `from` on
  function attention(qkv, T, D, H, muted, from) {
    const d = D / H;
    const out = new Float32Array(T * D);
    const scores = new Float32Array(T);
    for (let h = 0; h < H; h++) {
      if (muted(h)) continue;
      for (let t = from; t < T; t++) {
        let largest = -Infinity;
        let total = 0;
        for (let s = 0; s <= t; s++) {
          let sum = 0;
          for (let i = 0; i < d; i++) sum += qkv[t * 3 * D + h * d + i] * qkv[s * 3 * D + D + h * d + i];
          scores[s] = sum / Math.sqrt(d);
          if (scores[s] > largest) largest = scores[s];
        }
        for (let s = 0; s <= t; s++) total += scores[s] = Math.exp(scores[s] - largest);
        for (let s = 0; s <= t; s++) {
          const share = scores[s] / total;
          for (let i = 0; i < d; i++) out[t * D + h * d + i] += share * qkv[s * 3 * D + 2 * D + h * d + i];
        }
      }
    }
    return out;
  }

  // Predictions [T][n]; row t predicts the observation of row t + 1.  cut: parts whose output is set to zero, such as "1.2" (layer
  // 1, head 2) and "0.mlp".  from: first row that is asked for; those before are left empty, and the last layer spared them.
  function predict(model, tokens, cut = [], from = 0) {
    const { n_embd: D, n_head: H, n_layer, n_out, weights: w } = model;
    const T = tokens.length;
    const activate = ACTIVATIONS[model.activation];
    const x = linear(Float32Array.from(tokens.flat()), T, w["read_in.weight"], w["read_in.bias"]);
    if (w["wpe.weight"]) for (let i = 0; i < T * D; i++) x[i] += w["wpe.weight"][i];
    let rest = x;
    let rows = T; // of x: the rows that are still written to
    for (let l = 0; l < n_layer; l++) {
      const first = l === n_layer - 1 ? from : 0;
      rest = x.subarray(first * D);
      rows = T - first;
      const of = (name) => [w[`h.${l}.${name}.weight`], w[`h.${l}.${name}.bias`]];
      const qkv = linear(layerNorm(x, T, ...of("ln_1")), T, ...of("attn.c_attn"));
      const heads = attention(qkv, T, D, H, (h) => cut.includes(`${l}.${h}`), first);
      linear(heads.subarray(first * D), rows, ...of("attn.c_proj"), rest);
      if (cut.includes(`${l}.mlp`)) continue;
      const wide = linear(layerNorm(rest, rows, ...of("ln_2")), rows, ...of("mlp.c_fc"));
      for (let i = 0; i < wide.length; i++) wide[i] = activate(wide[i]);
      linear(wide, rows, ...of("mlp.c_proj"), rest);
    }
    const flat = linear(
      layerNorm(rest, rows, w["ln_f.weight"], w["ln_f.bias"]),
      rows,
      w["read_out.weight"],
      w["read_out.bias"],
    );
    return Array.from({ length: T }, (_, t) =>
      t < T - rows ? null : Array.from(flat.subarray((t - T + rows) * n_out, (t - T + rows + 1) * n_out)),
    );
  }

  // ------------------------------------------------------------------------------------------------------------ answers

  // One prompt, what the model and the references say to it; late: only from the query on.
  function answer(model, settings, base = draw(settings), late = false) {
    const asked = prompt(settings, base);
    return {
      prompt: asked,
      predictions: predict(model, asked.tokens.slice(0, -1), settings.cut, late ? asked.query : 0),
      ...references(asked),
    };
  }

  // Running means over prompts: errors after the query, and where the answers point (least squares of the predictions on the
  // candidates' next states, pooled; of the label's system also on its own trajectory, which counts as the label's).
  function pool(K, N) {
    const sums = () => Array.from({ length: K }, () => [0, 0]);
    const error = { model: sums(), byLabel: sums(), byState: sums() };
    const gram = Array.from({ length: K }, () => Array.from({ length: N + 1 }, () => Array(N + 2).fill(0)));
    let count = 0;
    return {
      add({ prompt, predictions, truth, byLabel, byState, candidates, alone }) {
        count++;
        for (let k = 0; k < K; k++) {
          const said = predictions[prompt.query + k];
          for (const [name, given] of [
            ["model", said],
            ["byLabel", byLabel[k]],
            ["byState", byState[k]],
          ]) {
            const e = squared(minus(given, truth[k]));
            error[name][k][0] += e;
            error[name][k][1] += e * e;
          }
          const columns = [...candidates[k], alone[k] || Array(said.length).fill(0), said];
          for (let i = 0; i <= N; i++) for (let j = 0; j <= N + 1; j++) gram[k][i][j] += dot(columns[i], columns[j]);
        }
      },
      read: (named) => ({
        count,
        error: Object.fromEntries(
          Object.entries(error).map(([name, each]) => [
            name,
            each.map(([sum, squares]) => {
              const mean = sum / count;
              return {
                mean,
                half: count > 1 ? 1.96 * Math.sqrt(Math.max(0, squares / count - mean * mean) / (count - 1)) : NaN,
              };
            }),
          ]),
        ),
        weights: gram.map((each) => {
          const solved = solve(each, 1e-6 * count);
          const weights = solved.slice(0, N);
          if (named >= 0) weights[named] += solved[N];
          return weights;
        }),
      }),
    };
  }

  // (G + ridge) w = r by elimination; the ridge shares out what columns have in common
  function solve(augmented, ridge) {
    const rows = augmented.map((row, i) => row.map((value, j) => value + (i === j ? ridge : 0)));
    const size = rows.length;
    for (let i = 0; i < size; i++) {
      const pivot = rows
        .slice(i)
        .reduce((best, row, j) => (Math.abs(row[i]) > Math.abs(rows[best][i]) ? i + j : best), i);
      [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
      for (let j = i + 1; j < size; j++) {
        const factor = rows[j][i] / rows[i][i];
        for (let k = i; k <= size; k++) rows[j][k] -= factor * rows[i][k];
      }
    }
    const w = Array(size).fill(0);
    for (let i = size - 1; i >= 0; i--)
      w[i] = (rows[i][size] - dot(rows[i].slice(i + 1, size), w.slice(i + 1))) / rows[i][i];
    return w;
  }

  return {
    random,
    haar,
    firstState,
    times,
    layOut,
    draw,
    prompt,
    references,
    unpack,
    predict,
    answer,
    pool,
    squared,
    minus,
  };
}

const { random, haar, firstState, times, layOut, draw, prompt, squared, minus } = core(); // for the files that follow
