// A reader's own sound: networks that the book trained answer in this page, and nothing leaves the machine.
// Graphs, weights and onnxruntime-web are script files beside the page, which a page from a disk may load too.
(() => {
"use strict";
if (window.audioattnOwnSound?.version === "@VERSION@") { window.audioattnOwnSound.wake(); return; }

const LONGEST = 30; // seconds of a sound
const SHORTEST = 0.1;
const OVERLAP = 0.5; // of windows, as in Model.listen
const CURVE_HEIGHT = 86; // of 100: the peak of a curve stays below the upper edge
const STEPS = 150; // of the slider: 4/3, 3/2 and 2 are among them
const POINTS = 400;
const CURVES = '<svg class="aa-curves" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">';
const LEGENDRE = [ // five nodes and their weights on [-1, 1]
  [0, 128 / 225], [-0.5384693101056831, 0.4786286704993665], [0.5384693101056831, 0.4786286704993665],
  [-0.9061798459386640, 0.2369268850561891], [0.9061798459386640, 0.2369268850561891],
];

const element = (tag, name, attributes = {}, text = "") => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
};
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const base64 = (array) => {
  let text = "";
  for (let i = 0; i < array.length; i += 0x8000) text += String.fromCharCode(...array.subarray(i, i + 0x8000));
  return btoa(text);
};
// As Python rounds: halves to the even number.
const rounded = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

// A script file hands its content over in a property of its element: no request that a page from a disk may not make.
const load = (url) => new Promise((resolve, reject) => {
  const script = element("script", "", { src: url });
  script.addEventListener("load", () => {
    script.remove();
    if (script.audioattnContent === undefined) reject(new Error("is empty")); else resolve(script.audioattnContent);
  });
  script.addEventListener("error", () => { script.remove(); reject(new Error("is not there")); });
  document.head.append(script);
});

const unpack = async (text) => {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

let runtime = null;
const startRuntime = async (url) => {
  const content = await load(url);
  if (content.missing) throw new Error(content.missing);
  const { ort } = window;
  const module = URL.createObjectURL(new Blob([content.module], { type: "text/javascript" }));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = { mjs: module };
  ort.env.wasm.wasmBinary = (await unpack(content.wasm)).buffer;
  return ort;
};

// Windows as Model.listen cuts them: first sample of each.
const cutWindows = (count, length, hop, grain) => {
  const starts = [];
  let following = 0;
  while (following + length <= count) { starts.push(following); following += hop; }
  const covered = starts.length ? following - hop + length : 0;
  if (covered < count) starts.push(Math.ceil(Math.max(count - length, 0) / grain) * grain);
  return starts;
};

// Density of the beta-Gaussian family, up to its constant; alpha 1 is the Gaussian.
const family = (alpha, location, variance) => {
  if (alpha <= 1.0001) {
    const deviation = Math.sqrt(variance);
    return { reach: 6 * deviation, halfWidth: Infinity, at: (t) => Math.exp(-0.5 * ((t - location) / deviation) ** 2) };
  }
  const k = 1 / (alpha - 1);
  const halfWidth = Math.sqrt((2 * k + 3) * variance);
  const at = (t) => Math.max(1 - ((t - location) / halfWidth) ** 2, 0) ** k;
  return { reach: halfWidth, halfWidth, at };
};

class OwnSound {
  constructor(root) {
    this.root = root;
    this.settings = JSON.parse(root.dataset.ownSound);
    this.network = 0;
    this.alpha = this.settings.networks[0].alpha;
    this.sessions = new Map();
    this.order = null; // of the bars, kept while the mechanism changes
    this.turn = 0; // of the last question: a slider moves faster than a network answers
    this.build();
  }

  build() {
    const { root, settings } = this;
    this.status = element("p", "aa-own-status", { role: "status" });
    this.start = element("button", "aa-own-button", { type: "button" }, `Load the networks (${settings.size})`);
    this.start.addEventListener("click", () => this.prepare());
    this.input = element("input", "", { type: "file", accept: "audio/*,video/*,.wav,.mp3,.flac,.ogg,.m4a" });
    this.input.addEventListener("click", () => { this.input.value = ""; }); // the same file again is a choice too
    this.input.addEventListener("change", () => { if (this.input.files.length) this.read(this.input.files[0]); });
    const choose = element("label", "aa-own-file", {}, "Choose a file, or drop it here ");
    choose.append(this.input);
    this.sources = element("div", "aa-own-sources");
    this.sources.hidden = true;
    this.sources.append(choose);
    if (navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode) {
      this.recorder = element("button", "aa-own-button", { type: "button" }, "Record");
      this.recorder.addEventListener("click", () => (this.recording ? this.recording.stop() : this.record()));
      this.level = element("meter", "aa-own-level", { min: 0, max: 1, low: 0.3, high: 0.97, optimum: 0.6, hidden: "", "aria-label": "Level of the microphone" });
      this.sources.append(this.recorder, this.level);
    }
    root.addEventListener("dragover", (event) => { if (!this.sources.hidden) event.preventDefault(); });
    root.addEventListener("drop", (event) => {
      if (this.sources.hidden || !event.dataTransfer.files.length) return;
      event.preventDefault();
      this.read(event.dataTransfer.files[0]);
    });
    this.result = element("div", "aa-own-result");
    this.result.hidden = true;
    root.querySelector(".aa-own-without").replaceWith(this.start, this.sources, this.status, this.result);
    this.buildResult();
  }

  buildResult() {
    const { settings } = this;
    const name = `aa-own-${Math.random().toString(36).slice(2)}`;
    const group = element("div", "aa-group aa-mechanisms", { role: "radiogroup", "aria-label": "Attention mechanism" });
    settings.networks.forEach(({ title }, i) => {
      const item = element("label");
      const input = element("input", "", { type: "radio", name, value: i, "aria-label": title });
      input.checked = i === 0;
      input.addEventListener("change", () => this.choose(i));
      item.append(input, element("span", "", {}, title));
      group.append(item);
    });
    const scrub = element("div", "aa-scrub");
    const label = element("label");
    this.slider = element("input", "", { type: "range", min: 0, max: STEPS, step: 1 });
    this.slider.addEventListener("input", () => this.change(1 + Number(this.slider.value) / STEPS));
    this.slider.addEventListener("keydown", (event) => event.stopPropagation());
    this.told = element("output");
    label.append(element("span", "", {}, "Alpha"), this.slider, this.told);
    scrub.append(label);
    this.bars = element("table", "aa-own-bars");
    this.place = element("div");
    this.result.append(group, scrub, this.bars, this.place);
  }

  say(text) { this.status.textContent = text; }

  async prepare() {
    if (this.ready) return this.ready;
    this.start.disabled = true;
    this.say("Loading …");
    this.ready = (async () => {
      const base = document.documentElement.dataset.content_root;
      if (base === undefined) throw new Error("this works in the pages of the book; in a notebook use model.listen");
      if (!window.DecompressionStream) throw new Error("this browser is too old: it cannot unpack the networks");
      runtime ??= startRuntime(base + this.settings.runtime);
      this.ort = await runtime;
      this.front = await this.session(this.settings.frontEnd);
      await this.open(this.network);
    })();
    try {
      await this.ready;
    } catch (error) {
      this.ready = runtime = null;
      this.start.disabled = false;
      this.say(`The networks cannot be loaded: ${error.message}.`);
      return null;
    }
    this.start.hidden = true;
    this.sources.hidden = false;
    this.say("Ready. The sound stays on this machine.");
    this.input.focus();
    return this.ready;
  }

  // A graph that is loaded once.
  session(url) {
    if (!this.sessions.has(url)) {
      // Fused operations have no kernels for float64 here.
      const options = { executionProviders: ["wasm"], graphOptimizationLevel: "basic", logSeverityLevel: 3 };
      const make = async () => this.ort.InferenceSession.create(await unpack(await load(url)), options);
      this.sessions.set(url, make());
    }
    return this.sessions.get(url);
  }

  // Graph and weights of a network.
  async open(number) {
    const network = this.settings.networks[number];
    network.opened ??= (async () => {
      const session = await this.session(this.settings.graphs[network.graph]);
      const data = new Float32Array((await unpack(await load(network.weights))).buffer);
      const weights = {};
      let first = 0;
      for (const [name, shape] of network.tensors) {
        const size = shape.reduce((product, length) => product * length, 1);
        if (session.inputNames.includes(name)) weights[name] = new this.ort.Tensor("float32", data.subarray(first, first + size), shape);
        first += size;
      }
      return { session, weights };
    })();
    return network.opened;
  }

  async read(file) {
    this.say(`Reading ${file.name} …`);
    try {
      const { rate } = this.settings;
      // A context of this rate decodes to it.
      const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
      const channels = [...Array(decoded.numberOfChannels).keys()].map((i) => decoded.getChannelData(i));
      const samples = channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
      await this.hear(samples, file.name);
    } catch (error) {
      this.say(`${file.name} cannot be heard: ${error.message || error}. Try a file in WAV, MP3 or FLAC.`);
    }
  }

  async record() {
    let stream;
    try {
      const options = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: options });
    } catch (error) {
      this.say(`The microphone cannot be used: ${error.message}.`);
      return;
    }
    const context = new AudioContext();
    const code = "registerProcessor('taker', class extends AudioWorkletProcessor { process(inputs) {"
      + " if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; } })";
    // A page from a disk may load no module out of memory, but one out of its own address.
    const address = `data:text/javascript,${encodeURIComponent(code)}`;
    const taken = [];
    let count = 0;
    let peak = 0;
    let timer = null;
    const end = async () => {
      if (!this.recording) return;
      this.recording = null;
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      const { sampleRate } = context;
      await context.close();
      this.recorder.textContent = "Record";
      this.recorder.classList.remove("aa-own-live");
      this.level.hidden = true;
      if (!count) { this.say("Nothing was recorded."); return; }
      const { rate } = this.settings;
      const offline = new OfflineAudioContext(1, Math.max(Math.round((count * rate) / sampleRate), 1), rate);
      const buffer = offline.createBuffer(1, count, sampleRate);
      let first = 0;
      for (const block of taken) { buffer.copyToChannel(block, 0, first); first += block.length; }
      const source = offline.createBufferSource();
      source.buffer = buffer;
      source.connect(offline.destination);
      source.start();
      await this.hear((await offline.startRendering()).getChannelData(0), "Your recording");
    };
    try {
      await context.audioWorklet.addModule(address);
    } catch (error) {
      stream.getTracks().forEach((track) => track.stop());
      this.say(`This browser cannot record here: ${error.message}. Choose a file.`);
      return;
    }
    this.recording = { stop: end };
    this.recorder.textContent = "Stop";
    this.recorder.classList.add("aa-own-live");
    this.level.hidden = false;
    const taker = new AudioWorkletNode(context, "taker", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    taker.port.onmessage = ({ data }) => {
      if (!this.recording) return;
      taken.push(data);
      count += data.length;
      for (const value of data) peak = Math.max(peak, Math.abs(value));
    };
    context.createMediaStreamSource(stream).connect(taker);
    timer = setInterval(() => {
      const seconds = count / context.sampleRate;
      this.say(`Recording: ${seconds.toFixed(1)} s`);
      this.level.value = clamp(1 + Math.log10(Math.max(peak, 1e-3)) / 3, 0, 1); // 60 dB below the loudest there is, to it
      peak = 0;
      if (seconds >= LONGEST) end();
    }, 100);
  }

  async hear(samples, title) {
    const { rate, period, window: longest } = this.settings;
    if (samples.length < SHORTEST * rate) throw new Error(`it lasts less than ${SHORTEST} s`);
    const cut = samples.length > LONGEST * rate;
    this.samples = cut ? samples.slice(0, LONGEST * rate) : Float32Array.from(samples);
    this.title = title;
    this.cut = cut;
    this.duration = this.samples.length / rate;
    const length = rounded(longest * rate);
    const grain = Math.max(rounded(period * rate), 1);
    let hop = Math.max(rounded((length * (1 - OVERLAP)) / grain), 1) * grain;
    hop = Math.min(hop, Math.max(Math.floor(length / grain), 1) * grain);
    const isLong = this.samples.length > length + 1;
    const starts = isLong ? cutWindows(this.samples.length, length, hop, grain) : [0];
    this.step = hop / rate;
    this.windows = starts.map((start) => ({ start, stop: isLong ? Math.min(start + length, this.samples.length) : this.samples.length }));
    this.whole = await this.features([{ start: 0, stop: this.samples.length }]);
    this.parts = isLong ? await this.features(this.windows) : this.whole;
    this.order = null;
    this.show();
    await this.answer();
  }

  async features(windows) {
    const longest = Math.max(...windows.map(({ start, stop }) => stop - start));
    const waveforms = new Float32Array(windows.length * longest);
    windows.forEach(({ start, stop }, i) => waveforms.set(this.samples.subarray(start, stop), i * longest));
    const lengths = BigInt64Array.from(windows, ({ start, stop }) => BigInt(stop - start));
    const found = await this.front.run({
      waveforms: new this.ort.Tensor("float32", waveforms, [windows.length, longest]),
      lengths: new this.ort.Tensor("int64", lengths, [windows.length]),
    });
    return { features: found.features, frames: found.frames };
  }

  choose(number) {
    this.network = number;
    this.alpha = this.settings.networks[number].alpha;
    return this.answer();
  }

  change(alpha) {
    const trained = this.settings.networks[this.network].alpha;
    this.alpha = Math.abs(alpha - trained) < 1e-6 ? trained : alpha; // as near as the slider comes
    return this.answer();
  }

  // What the network says of the windows, and attention of the whole sound.
  async answer() {
    const turn = ++this.turn;
    const { network: number, alpha } = this;
    const network = this.settings.networks[number];
    this.tell();
    const { session, weights } = await this.open(number);
    if (turn !== this.turn) return;
    const found = await session.run({
      features: this.parts.features, lengths: this.parts.frames, ...weights,
      alpha: new this.ort.Tensor("float32", Float32Array.of(alpha), []),
    });
    if (turn !== this.turn) return;
    const probabilities = this.overTime(found.probabilities);
    const frames = Number(this.whole.frames.data[0]);
    const modes = found.location ? found.location.dims[1] : 0;
    const shares = this.windows.map((_, i) => this.frameAttention(found, i, alpha));
    const attention = this.windows.length > 1 ? this.stitched(shares, frames) : shares[0];
    let densities = null;
    if (modes && this.windows.length === 1) {
      densities = [...Array(modes).keys()].map((i) => ({
        location: found.location.data[i], variance: found.variance.data[i], weight: found.mode_weight.data[i],
      }));
    }
    this.answered = { network: network.title, alpha, probabilities, attention, densities, duration: this.duration };
    this.draw();
  }

  // Attention to each frame of one window, of sum 1: the record's frame_attention.
  frameAttention(found, row, alpha) {
    const count = Number(this.parts.frames.data[row]);
    const share = new Float64Array(count);
    if (found.location) {
      const modes = found.location.dims[1];
      const { period, start } = this.settings;
      for (let i = 0; i < modes; i++) {
        const at = row * modes + i;
        const place = found.location.data[at];
        const density = family(alpha, place, found.variance.data[at]);
        const mass = new Float64Array(count);
        let total = 0;
        for (let frame = 0; frame < count; frame++) {
          const low = Math.max(start + frame * period, place - density.reach);
          const high = Math.min(start + (frame + 1) * period, place + density.reach);
          if (high <= low) continue;
          for (const [node, weight] of LEGENDRE) mass[frame] += weight * density.at((low + high) / 2 + ((high - low) / 2) * node);
          mass[frame] *= (high - low) / 2;
          total += mass[frame];
        }
        // of one mode, what lies outside of the clip does not count; of several it does
        const whole = modes > 1 ? this.integral(density, place) : total;
        for (let frame = 0; frame < count; frame++) share[frame] += (found.mode_weight.data[at] * mass[frame]) / (whole || 1);
      }
    } else {
      const [, heads, frames] = found.weights.dims;
      for (let head = 0; head < heads; head++) {
        for (let frame = 0; frame < count; frame++) share[frame] += found.weights.data[(row * heads + head) * frames + frame] / heads;
      }
    }
    const total = share.reduce((sum, value) => sum + value, 0);
    return total > 0 ? share.map((value) => value / total) : share.fill(1 / count);
  }

  integral(density, place) {
    const pieces = 64;
    let sum = 0;
    for (let i = 0; i < pieces; i++) {
      const middle = place + density.reach * ((2 * i + 1) / pieces - 1);
      for (const [node, weight] of LEGENDRE) sum += weight * density.at(middle + (density.reach / pieces) * node);
    }
    return (sum * density.reach) / pieces;
  }

  // Mean over time of the windows' answers: the ValueTimeline of Model.listen.
  overTime({ data, dims: [, classes] }) {
    if (this.windows.length === 1) return Array.from(data.slice(0, classes));
    const { rate } = this.settings;
    const { step } = this;
    const count = Math.max(Math.ceil(this.duration / step - 1e-6), 1);
    const sums = Array.from({ length: count + 2 }, () => new Float64Array(classes));
    const weights = new Float64Array(count + 2);
    this.windows.forEach(({ start, stop }, row) => {
      const [from, to] = [start / rate, stop / rate];
      for (let i = Math.floor(from / step + 1e-6); i < Math.ceil(to / step - 1e-6); i++) {
        const middle = (i + 0.5) * step;
        const weight = Math.max(Math.min(middle - from, to - middle), 1e-3 * step);
        weights[i] += weight;
        for (let c = 0; c < classes; c++) sums[i][c] += weight * data[row * classes + c];
      }
    });
    const mean = new Float64Array(classes);
    for (let i = 0; i < count; i++) {
      const share = (Math.min((i + 1) * step, this.duration) - i * step) / this.duration;
      for (let c = 0; c < classes; c++) mean[c] += (share * sums[i][c]) / weights[i];
    }
    return Array.from(mean);
  }

  // The AttentionTimeline of Model.listen.
  stitched(shares, frames) {
    const { rate, period } = this.settings;
    const sum = new Float64Array(frames + 1);
    const weight = new Float64Array(frames + 1);
    let count = 0;
    shares.forEach((share, row) => {
      const first = rounded(this.windows[row].start / rate / period);
      share.forEach((value, i) => {
        const near = Math.min(i + 0.5, share.length - i - 0.5);
        sum[first + i] += near * value;
        weight[first + i] += near;
      });
      count = Math.max(count, first + share.length);
    });
    const joined = sum.slice(0, count).map((value, i) => value / Math.max(weight[i], 1e-12));
    const total = joined.reduce((all, value) => all + value, 0);
    return joined.map((value) => value / Math.max(total, 1e-12));
  }

  tell() {
    const trained = this.settings.networks[this.network].alpha;
    this.slider.value = Math.round((this.alpha - 1) * STEPS);
    const text = `${this.alpha.toFixed(2)}${this.alpha === trained ? ", as trained" : `; trained with ${trained.toFixed(2)}`}`;
    this.told.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }

  // The player of the sound, whose curve the answers set.
  show() {
    const { rate, period, start } = this.settings;
    const figure = element("figure", "audioattn aa-player aa-waiting mathjax_ignore", { "aria-label": this.title, "data-lm-suppress-shortcuts": "true" });
    figure.dataset.player = JSON.stringify({
      duration: this.duration, begin: 0, tail: 0, start: 0, sliders: [], hertz: this.settings.centres,
      mechanisms: [{ title: "Attention", reading: "", gain: base64(Uint8Array.of(255)), period, start }],
    });
    figure.append(element("div", "aa-title", {}, this.title));
    const stage = element("div", "aa-stage");
    const hertz = element("div", "aa-hertz", { "aria-hidden": "true" });
    for (const [place, name] of this.settings.hertz) hertz.append(element("span", "", { style: `bottom:${place}%` }, name));
    hertz.append(element("b", "", {}, "Hz"));
    const plot = element("div", "aa-plot");
    const screen = element("div", "aa-screen");
    screen.append(this.picture());
    screen.insertAdjacentHTML("beforeend", `${CURVES}</svg>`);
    plot.append(screen);
    const seconds = element("div", "aa-seconds", { "aria-hidden": "true" });
    const step = [0.1, 0.2, 0.5, 1, 2, 5].find((each) => this.duration / each <= 8) ?? 10;
    for (let i = 0; i * step <= this.duration + 1e-9; i++) {
      seconds.append(element("span", "", { style: `left:${(100 * i * step) / this.duration}%` }, `${+(i * step).toFixed(1)}${i ? "" : " s"}`));
    }
    stage.append(hertz, plot, seconds);
    figure.append(stage, element("div", "aa-reading"));
    figure.append(element("audio", "", { controls: "", "aria-label": this.title, src: this.wave(rate) }));
    this.place.querySelector("figure")?.audioattn?.pause();
    this.place.replaceChildren(figure);
    this.result.hidden = false;
    window.audioattnPlayer.wake();
    this.player = figure.audioattn;
  }

  // The spectrogram in both themes.
  picture() {
    const { features, frames } = this.whole;
    const [, , bands] = features.dims;
    const count = Number(frames.data[0]);
    const data = features.data.subarray(0, count * bands);
    const ordered = Float32Array.from(data).sort();
    const rank = (share) => ordered[Math.round(share * (ordered.length - 1))];
    const low = rank(0.2);
    const high = Math.max(rank(0.997), low + 1e-6);
    const { period, start } = this.settings;
    const box = element("div", "aa-picture", { style: `left:${(100 * start) / this.duration}%;width:${(100 * count * period) / this.duration}%` });
    for (const [theme, table] of Object.entries(this.settings.colours)) {
      const colours = bytes(table);
      const canvas = element("canvas", "", { width: count, height: bands });
      const pen = canvas.getContext("2d");
      const image = pen.createImageData(count, bands);
      for (let frame = 0; frame < count; frame++) {
        for (let band = 0; band < bands; band++) {
          const level = Math.round(255 * clamp((data[frame * bands + band] - low) / (high - low), 0, 1));
          const at = 4 * ((bands - 1 - band) * count + frame);
          for (let i = 0; i < 3; i++) image.data[at + i] = colours[3 * level + i];
          image.data[at + 3] = 255;
        }
      }
      pen.putImageData(image, 0, 0);
      box.append(element("img", `aa-${theme} dark-light`, { alt: `Spectrogram of ${this.duration.toFixed(1)} s of sound`, src: canvas.toDataURL() }));
    }
    return box;
  }

  wave(rate) {
    const count = this.samples.length;
    const file = new DataView(new ArrayBuffer(44 + 2 * count));
    const write = (at, text) => [...text].forEach((character, i) => file.setUint8(at + i, character.charCodeAt(0)));
    write(0, "RIFF"); file.setUint32(4, 36 + 2 * count, true); write(8, "WAVEfmt ");
    file.setUint32(16, 16, true); file.setUint16(20, 1, true); file.setUint16(22, 1, true);
    file.setUint32(24, rate, true); file.setUint32(28, 2 * rate, true); file.setUint16(32, 2, true); file.setUint16(34, 16, true);
    write(36, "data"); file.setUint32(40, 2 * count, true);
    const peak = Math.max(1, this.samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    this.samples.forEach((value, i) => file.setInt16(44 + 2 * i, Math.round((32767 * value) / peak), true));
    return `data:audio/wav;base64,${base64(new Uint8Array(file.buffer))}`;
  }

  draw() {
    const { attention, probabilities, densities, network, alpha } = this.answered;
    const { classes, period, start, multilabel } = this.settings;
    const peak = attention.reduce((most, value) => Math.max(most, value), 0) || 1;
    const x = (seconds) => +((1000 * seconds) / this.duration).toFixed(1);
    let path = "";
    let reading;
    const spans = [];
    if (densities) {
      // Each mode has points of its own, which a grid over the clip could step over.
      const times = [];
      const shapes = densities.map((mode) => ({ ...mode, ...family(alpha, mode.location, mode.variance) }));
      for (const mode of shapes) mode.scale = mode.weight / this.integral(mode, mode.location);
      for (let i = 0; i <= POINTS; i++) times.push((i * this.duration) / POINTS);
      for (const mode of shapes) {
        for (let i = -40; i <= 40; i++) times.push(mode.location + (mode.reach * i) / 40);
        const span = [Math.max(mode.location - mode.halfWidth, 0), Math.min(mode.location + mode.halfWidth, this.duration)];
        if (mode.weight > 0 && span[1] > span[0]) spans.push(span);
      }
      const points = times.filter((t) => t >= 0 && t <= this.duration).sort((a, b) => a - b);
      const values = points.map((t) => shapes.reduce((sum, mode) => sum + mode.scale * mode.at(t), 0));
      const most = values.reduce((top, value) => Math.max(top, value), 0) || 1;
      path = `M0 100L${points.map((t, i) => `${x(t)} ${(100 - (CURVE_HEIGHT * values[i]) / most).toFixed(1)}`).join("L")}L1000 100Z`;
      const mean = shapes.reduce((sum, mode) => sum + mode.weight * mode.location, 0);
      const square = shapes.reduce((sum, mode) => sum + mode.weight * (mode.variance + (mode.location - mean) ** 2), 0);
      reading = [mean, Math.sqrt(square)];
    } else {
      let mean = 0;
      attention.forEach((value, i) => { mean += value * (start + (i + 0.5) * period); });
      let square = 0;
      attention.forEach((value, i) => { square += value * (start + (i + 0.5) * period - mean) ** 2; });
      reading = [mean, Math.sqrt(square)];
      let open = -1;
      for (let i = 0; i <= attention.length; i++) {
        const inside = i < attention.length && attention[i] > 0;
        const left = clamp(start + i * period, 0, this.duration);
        if (inside && open < 0) { open = left; path += `M${x(left)} 100`; }
        if (inside) path += `V${(100 - (CURVE_HEIGHT * attention[i]) / peak).toFixed(1)}H${x(clamp(start + (i + 1) * period, 0, this.duration))}`;
        if (!inside && open >= 0) { path += "V100Z"; spans.push([open, left]); open = -1; }
      }
    }
    const bars = spans.map(([from, to]) => `<rect x="${x(from)}" y="96" width="${Math.max(x(to) - x(from), 1)}" height="4"/>`).join("");
    const covered = spans.reduce((sum, [from, to]) => sum + to - from, 0);
    const reach = covered > 0.999 * this.duration ? "the whole clip above zero" : `${covered.toFixed(2)} s above zero`;
    const words = `${network}: mean ${reading[0].toFixed(2)} s ± ${reading[1].toFixed(2)} s, ${reach}`;
    const gain = base64(Uint8Array.from(attention, (value) => Math.round((255 * value) / peak)));
    this.player.replace({
      mechanisms: [{ title: network, reading: words, gain, period, start }], layers: "", reading: words,
      curves: `${CURVES}<g data-mechanism="0"><path class="aa-line" d="${path}"/><g class="aa-support">${bars}</g></g></svg>`,
    });

    this.order ??= probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
    const body = element("tbody");
    for (const i of this.order) {
      const row = element("tr");
      const cell = element("td", "aa-own-bar", { "aria-hidden": "true" });
      cell.append(element("i", "", { style: `width:${(100 * probabilities[i]).toFixed(1)}%` }));
      row.append(element("th", "", { scope: "row" }, classes[i]), cell, element("td", "", {}, `${(100 * probabilities[i]).toFixed(1)} %`));
      body.append(row);
    }
    this.bars.replaceChildren(element("caption", "", {}, `Probability of each class: ${network}`), body);
    const best = probabilities.indexOf(Math.max(...probabilities));
    const answer = multilabel ? classes.filter((_, i) => probabilities[i] > 0.5).join(", ") || "no class" : classes[best];
    const cut = this.cut ? ` The first ${LONGEST} s were heard.` : "";
    this.say(`${network}: ${answer}${multilabel ? "" : ` (${(100 * probabilities[best]).toFixed(0)} %)`}.${cut}`);
  }
}

window.audioattnAwaken("audioattnOwnSound", "aa-own-waiting", (root) => root.querySelector(".aa-own-without"), (root) => {
  root.audioattn = new OwnSound(root);
}, "@VERSION@");
})();
