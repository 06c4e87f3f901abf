// The player of audioattn. The markup already holds picture, curves and sound;
// this adds the controls, the playhead and listening through attention.
// Pages load it as a script, and the widget of notebooks has it before its own module (widget.js):
// both make window.audioattnPlayer, and a player is root.audioattn with state(), set() and the event audioattn:change.
(() => {
"use strict";
if (window.audioattnPlayer?.version === "@VERSION@") { window.audioattnPlayer.wake(); return; }

const FADE = 0.012;
const VEIL = 0.88;
const ICONS = {
  play: '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 2.2v11.6a.7.7 0 0 0 1.07.6l9-5.8a.7.7 0 0 0 0-1.2l-9-5.8A.7.7 0 0 0 4 2.2Z"/></svg>',
  pause: '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3.5 2h3v12h-3zM9.5 2h3v12h-3z"/></svg>',
};
const MODES = [
  ["all", "Everything", "Play everything", [1, 1]],
  ["attended", "Only attended", "Play only what it attends to", [1, 0]],
  ["rest", "The rest", "Play what it does not attend to", [0, 1]],
];

let context = null;
let sounding = null;
let count = 0;

const element = (tag, name, attributes = {}) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const told = (seconds) => Math.round(seconds * 1000) / 1000;

const read = (each) => ({
  ...each, gain: bytes(each.gain), cells: each.cells && { ...each.cells, gain: bytes(each.cells.gain) },
});

// Fourier transform in place of 2^n complex numbers.
const transform = (re, im) => {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    const turn = (-2 * Math.PI) / size;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(turn * k), s = Math.sin(turn * k);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const a = re[j] * c - im[j] * s, b = re[j] * s + im[j] * c;
        re[j] = re[i] - a; im[j] = im[i] - b;
        re[i] += a; im[i] += b;
      }
    }
  }
};

// A place between rising numbers: the one below, and the share of the way to the next.
const between = (numbers, value) => {
  let below = 0;
  while (below < numbers.length - 2 && numbers[below + 1] <= value) below++;
  const above = Math.min(below + 1, numbers.length - 1);
  const share = above > below ? clamp((value - numbers[below]) / (numbers[above] - numbers[below]), 0, 1) : 0;
  return { below, above, share };
};

// Gain of the cells of one band at a time, from 0 to 1.
const bandAt = ({ gain, hertz, start, period }, band, seconds) => {
  const frames = gain.length / hertz.length;
  const place = clamp((seconds - start) / period - 0.5, 0, frames - 1);
  const below = Math.floor(place);
  const first = gain[band * frames + below];
  return (first + (gain[band * frames + Math.min(below + 1, frames - 1)] - first) * (place - below)) / 255;
};

const cellAt = (cells, hertz, seconds) => {
  const { below, above, share } = between(cells.hertz, hertz);
  return (1 - share) * bandAt(cells, below, seconds) + share * bandAt(cells, above, seconds);
};

// A sound whose cells of time and frequency are multiplied by their gain: short-time transform, gain, inverse.
const filterCells = (samples, rate, cells) => {
  const size = 2 ** Math.max(Math.round(Math.log2(0.064 * rate)), 2);
  const hop = size / 4;
  const window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const bins = Array.from({ length: size / 2 + 1 }, (_, bin) => between(cells.hertz, (bin * rate) / size));
  const made = new Float64Array(samples.length);
  const weight = new Float64Array(samples.length);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let first = hop - size; first < samples.length; first += hop) {
    for (let i = 0; i < size; i++) { re[i] = (samples[first + i] || 0) * window[i]; im[i] = 0; }
    transform(re, im);
    const bands = cells.hertz.map((_, band) => bandAt(cells, band, (first + size / 2) / rate));
    bins.forEach(({ below, above, share }, bin) => {
      const gain = bands[below] + share * (bands[above] - bands[below]);
      re[bin] *= gain; im[bin] *= gain;
      if (bin && bin < size / 2) { re[size - bin] *= gain; im[size - bin] *= gain; }
    });
    // The inverse is the transform of the conjugate.
    for (let i = 0; i < size; i++) im[i] = -im[i];
    transform(re, im);
    for (let i = Math.max(0, -first); i < size && first + i < samples.length; i++) {
      made[first + i] += (re[i] / size) * window[i];
      weight[first + i] += window[i] * window[i];
    }
  }
  return made.map((value, i) => value / (weight[i] || 1));
};

class Player {
  constructor(root) {
    this.root = root;
    this.id = `aa${++count}`;
    const settings = JSON.parse(root.dataset.player);
    this.duration = settings.duration;
    this.begin = settings.begin; // of a part, in seconds of the whole sound
    this.tail = settings.tail;
    this.mechanisms = settings.mechanisms.map(read);
    this.axis = settings.axis; // hertz of the picture, from its lower to its upper edge
    this.sliders = settings.sliders;
    this.noun = settings.noun ?? "attention"; // what is over the sound
    this.hertz = settings.hertz ?? []; // centre of each band of the picture
    this.mechanism = settings.start;
    this.mode = "all";
    this.layer = "attention";
    this.selection = null; // of this part, in its own seconds
    this.offset = 0;
    this.playing = false;
    this.graph = null;
    this.build();
    this.draw();
  }

  build() {
    const { root } = this;
    this.plot = root.querySelector(".aa-plot");
    this.veil = element("div", "aa-veil");
    this.plot.querySelector(".aa-screen").insertBefore(this.veil, this.plot.querySelector(".aa-curves"));
    this.head = element("div", "aa-playhead");
    this.seekBar = element("div", "aa-seek", {
      role: "slider", tabindex: "0", "aria-label": "Position in the sound", "aria-valuemin": this.begin.toFixed(2),
      "aria-valuemax": (this.begin + this.duration).toFixed(2),
    });
    this.band = element("div", "aa-selection", { hidden: "" });
    this.readout = element("div", "aa-readout", { hidden: "", "aria-hidden": "true" });
    this.plot.append(this.band, this.head, this.readout, this.seekBar);

    const controls = element("div", "aa-controls");
    this.button = element("button", "aa-play", { type: "button" });
    this.button.addEventListener("click", () => this.toggle());
    controls.append(this.button);
    if (this.mechanisms.length) {
      const modes = this.group("What to hear", MODES, "all", (key) => this.hear(key));
      modes.classList.add("aa-modes");
      // A click on a way of listening is a wish to hear it; arrow keys only choose.
      modes.addEventListener("click", (event) => { if (event.detail > 0 && event.target.tagName === "INPUT" && !this.playing) this.play(); });
      this.modeGroup = modes;
      controls.append(modes);
    }
    this.clock = element("span", "aa-clock");
    controls.append(this.clock);
    this.chip = element("button", "aa-chip", { type: "button", hidden: "" });
    this.chip.addEventListener("click", () => this.select(null));
    controls.append(this.chip);
    if (this.mechanisms.length) {
      const show = element("label", "aa-show");
      const box = element("input", "", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => this.overlay(box.checked ? "attention" : "none"));
      this.showBox = box;
      show.append(box, `Show ${this.noun}`);
      controls.append(show);
    }
    if (this.sliders.length) {
      root.querySelector(".aa-stage").before(this.slide());
    } else if (this.mechanisms.length > 1) {
      const choice = this.group("Attention mechanism", this.mechanisms.map((each, i) => [String(i), each.title, each.title]), String(this.mechanism), (key) => this.choose(Number(key)));
      choice.classList.add("aa-mechanisms");
      this.choice = choice;
      root.querySelector(".aa-stage").before(choice);
    }
    (root.querySelector(".aa-reading") || root.querySelector(".aa-stage")).after(controls);
    this.listen();
    root.classList.remove("aa-waiting");
    root.classList.add("aa-awake");
  }

  // A slider for each thing that changes; together their places number a mechanism, the last one fastest.
  slide() {
    const box = element("div", "aa-scrub");
    let left = this.mechanism;
    this.follow = [];
    const places = this.sliders.map(({ values }, i) => {
      const below = this.sliders.slice(i + 1).reduce((product, later) => product * later.values.length, 1);
      const place = Math.floor(left / below);
      left %= below;
      return { place, below };
    });
    this.sliders.forEach(({ label, values }, i) => {
      const text = element("label");
      const name = element("span");
      const slider = element("input", "", { type: "range", min: 0, max: values.length - 1, step: 1 });
      const output = element("output");
      name.textContent = label;
      slider.value = places[i].place;
      const tell = () => {
        output.textContent = values[places[i].place];
        slider.setAttribute("aria-valuetext", values[places[i].place]);
      };
      slider.addEventListener("input", () => {
        places[i].place = Number(slider.value);
        tell();
        this.choose(places.reduce((sum, { place, below }) => sum + place * below, 0));
      });
      slider.addEventListener("keydown", (event) => event.stopPropagation());
      tell();
      this.follow.push((mechanism) => {
        places[i].place = Math.floor(mechanism / places[i].below) % values.length;
        slider.value = places[i].place;
        tell();
      });
      text.append(name, slider, output);
      box.append(text);
    });
    return box;
  }

  group(label, choices, first, chosen) {
    const group = element("div", "aa-group", { role: "radiogroup", "aria-label": label });
    const name = `${this.id}-${label.replace(/ /g, "-")}`;
    for (const [key, text, about] of choices) {
      const item = element("label");
      const input = element("input", "", { type: "radio", name, value: key, "aria-label": about });
      const shown = element("span");
      input.checked = key === first;
      shown.textContent = text;
      input.addEventListener("change", () => chosen(key));
      item.append(input, shown);
      group.append(item);
    }
    return group;
  }

  listen() {
    const bar = this.seekBar;
    let resume = false;
    let from = null; // of a selection that is drawn
    const at = (event) => {
      const box = bar.getBoundingClientRect();
      return clamp((event.clientX - box.left) / box.width, 0, 1) * this.duration;
    };
    bar.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      resume = this.playing;
      this.pause();
      bar.setPointerCapture(event.pointerId);
      from = event.shiftKey ? at(event) : null;
      if (from === null) this.seek(at(event));
    });
    bar.addEventListener("pointerleave", () => this.readout.toggleAttribute("hidden", true));
    bar.addEventListener("pointermove", (event) => {
      this.point(event, at(event));
      if (!bar.hasPointerCapture(event.pointerId)) return;
      if (from === null) this.seek(at(event));
      else this.select([from, at(event)], false);
    });
    const release = () => {
      if (from !== null) this.tell();
      from = null;
      if (resume) this.play();
      resume = false;
    };
    bar.addEventListener("pointerup", release);
    bar.addEventListener("pointercancel", release);
    bar.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.5 : 0.1;
      const moves = {
        ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -1, PageUp: 1,
        Home: -Infinity, End: Infinity,
      };
      if (event.key === " ") this.toggle();
      else if (event.key === "[") this.select([this.position(), this.selection && this.selection[1] > this.position() ? this.selection[1] : this.duration]);
      else if (event.key === "]") this.select([this.selection && this.selection[0] < this.position() ? this.selection[0] : 0, this.position()]);
      else if (event.key === "Escape" && this.selection) this.select(null);
      else if (event.key in moves) this.seek(this.position() + moves[event.key]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  // Time, frequency and attention below the pointer.
  point(event, seconds) {
    if (event.pointerType === "touch") return;
    const box = this.seekBar.getBoundingClientRect();
    const parts = [`${(this.begin + seconds).toFixed(2)} s`];
    const band = Math.floor((1 - (event.clientY - box.top) / box.height) * this.hertz.length);
    const hertz = this.hertz[clamp(band, 0, this.hertz.length - 1)];
    if (hertz !== undefined) parts.push(hertz < 1000 ? `${Math.round(hertz)} Hz` : `${(hertz / 1000).toFixed(1)} kHz`);
    if (this.mechanisms.length) parts.push(`weight ${this.gainAt(seconds).toFixed(2)} of the peak`);
    this.readout.textContent = parts.join(", ");
    this.readout.toggleAttribute("hidden", false);
    const left = event.clientX - box.left;
    this.readout.style.left = `${clamp(left - this.readout.offsetWidth / 2, 2, Math.max(box.width - this.readout.offsetWidth - 2, 2))}px`;
  }

  gainAt(seconds, mechanism = this.mechanism) {
    const { gain, start, period } = this.mechanisms[mechanism];
    const place = clamp((seconds - start) / period - 0.5, 0, gain.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, gain.length - 1);
    return (gain[below] + (gain[above] - gain[below]) * (place - below)) / 255;
  }

  async decode() {
    if (this.whole) return;
    const source = this.root.querySelector("audio").src;
    const decoded = await context.decodeAudioData(bytes(source.slice(source.indexOf(",") + 1)).buffer);
    // Browsers that ignore the encoder's header leave its delay at the start.
    const excess = Math.round((decoded.duration - this.duration - this.tail) * decoded.sampleRate);
    const skip = excess > 0.01 * decoded.sampleRate ? Math.min(excess, Math.round(0.0691 * decoded.sampleRate)) : 0;
    const length = Math.min(decoded.length - skip, Math.round(this.duration * decoded.sampleRate));
    this.whole = context.createBuffer(1, length, decoded.sampleRate);
    this.whole.copyToChannel(decoded.getChannelData(0).subarray(skip, skip + length), 0);
  }

  // What is attended to and the rest: together they are the whole, sample by sample.
  parts() {
    if (!this.mechanisms.length) return [this.whole];
    const mechanism = this.mechanisms[this.mechanism];
    if (this.split?.mechanism !== mechanism) {
      const { length, sampleRate } = this.whole;
      const whole = this.whole.getChannelData(0);
      const attended = new Float32Array(length);
      const rest = new Float32Array(length);
      const filtered = mechanism.cells && filterCells(whole, sampleRate, mechanism.cells);
      for (let i = 0; i < length; i++) {
        attended[i] = filtered ? filtered[i] : whole[i] * this.gainAt(i / sampleRate);
        rest[i] = whole[i] - attended[i];
      }
      const parts = [attended, rest].map((samples) => {
        const buffer = context.createBuffer(1, length, sampleRate);
        buffer.copyToChannel(samples, 0);
        return buffer;
      });
      // Only the last: a grid of sliders has too many to keep.
      this.split = { mechanism, parts };
    }
    return this.split.parts;
  }

  mix() {
    return MODES.find(([key]) => key === this.mode)[3];
  }

  position() {
    if (!this.playing || !this.graph) return this.offset;
    const late = context.outputLatency || 0;
    const passed = Math.max(context.currentTime - this.graph.since - late, 0);
    if (!this.selection) return clamp(this.offset + passed, this.offset, this.duration);
    const [start, stop] = this.selection;
    return start + ((this.offset - start + passed) % (stop - start));
  }

  toggle() {
    if (this.playing) this.pause(); else this.play();
  }

  async play() {
    if (this.playing) return;
    context ??= new AudioContext();
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    this.playing = true;
    this.draw();
    await Promise.all([context.resume(), this.decode()]);
    if (!this.playing || this.graph) return;
    if (this.offset >= this.duration - 0.02) this.offset = 0;
    if (this.selection) this.offset = this.inside(this.offset);
    this.sound();
    this.tick();
  }

  sound() {
    const since = context.currentTime + 0.01;
    const master = context.createGain();
    master.gain.setValueAtTime(0, since);
    master.gain.linearRampToValueAtTime(1, since + FADE);
    master.connect(context.destination);
    const levels = this.mix();
    const graph = { since, master, gains: [], sources: [] };
    this.parts().forEach((buffer, i) => {
      const source = context.createBufferSource();
      const level = context.createGain();
      source.buffer = buffer;
      level.gain.value = levels[i];
      if (this.selection) {
        source.loop = true;
        [source.loopStart, source.loopEnd] = this.selection;
      }
      source.connect(level).connect(master);
      source.start(since, this.offset);
      graph.gains.push(level.gain);
      graph.sources.push(source);
    });
    graph.sources[0].onended = () => {
      if (this.graph !== graph) return;
      this.graph = null;
      this.playing = false;
      this.offset = this.duration;
      this.draw();
      this.tell();
    };
    this.graph = graph;
  }

  silence() {
    const graph = this.graph;
    if (!graph) return;
    this.graph = null;
    const now = context.currentTime;
    graph.master.gain.cancelScheduledValues(now);
    graph.master.gain.setValueAtTime(graph.master.gain.value, now);
    graph.master.gain.linearRampToValueAtTime(0, now + FADE);
    for (const source of graph.sources) source.stop(now + FADE + 0.005);
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.position();
    this.playing = false;
    this.silence();
    this.draw();
    this.tell();
  }

  // Seconds inside the selection, which is played again and again.
  inside(seconds) {
    const [start, stop] = this.selection;
    return seconds >= start && seconds < stop - 0.005 ? seconds : start;
  }

  // An interval to hear again and again, in seconds of this part; null for none.
  select(interval, isDone = true) {
    const position = this.position();
    const [start, stop] = (interval ?? [0, 0]).map((seconds) => clamp(seconds, 0, this.duration)).sort((a, b) => a - b);
    this.selection = stop - start >= 0.02 ? [start, stop] : null;
    this.band.toggleAttribute("hidden", !this.selection);
    this.chip.toggleAttribute("hidden", !this.selection);
    if (this.selection) {
      this.band.style.left = `${(100 * start) / this.duration}%`;
      this.band.style.width = `${(100 * (stop - start)) / this.duration}%`;
      const text = `${(this.begin + start).toFixed(2)} to ${(this.begin + stop).toFixed(2)} s`;
      this.chip.textContent = `Loop ${text} \u00d7`;
      this.chip.setAttribute("aria-label", `Loop of ${text}; press to end the loop`);
    }
    this.offset = this.selection && this.playing ? this.inside(position) : position;
    if (this.graph) { this.silence(); this.sound(); }
    this.draw();
    if (isDone) this.tell();
  }

  // "attention" over the picture, or "none".
  overlay(layer) {
    this.layer = layer;
    this.root.classList.toggle("aa-bare", layer === "none");
    if (this.showBox) this.showBox.checked = layer !== "none";
    this.tell();
  }

  // What a notebook or a page reads and sets, in seconds of the whole sound.
  state() {
    return {
      playhead: told(this.begin + this.position()),
      selection: this.selection && this.selection.map((seconds) => told(this.begin + seconds)),
      mode: this.mode,
      mechanism: this.mechanisms.length ? this.mechanisms[this.mechanism].title : "",
      layer: this.layer,
    };
  }

  set(name, value) {
    if (name === "playhead") this.seek(value - this.begin);
    else if (name === "selection") this.select(value && value.map((seconds) => seconds - this.begin));
    else if (name === "layer") this.overlay(value);
    else if (name === "marks") this.mark(value);
    else if (name === "mode") {
      const input = this.modeGroup?.querySelector(`input[value="${value}"]`);
      if (!input) return;
      input.checked = true;
      this.hear(value);
    } else if (name === "mechanism") {
      const found = this.mechanisms.findIndex((each) => each.title === value);
      if (found < 0) return;
      const input = this.choice?.querySelector(`input[value="${found}"]`);
      if (input) input.checked = true;
      for (const each of this.follow ?? []) each(found);
      this.choose(found);
    }
  }

  // Intervals that a notebook found: [start, stop, text] each.
  mark(marks) {
    for (const old of this.plot.querySelectorAll(".aa-mark")) old.remove();
    for (const [start, stop, text] of marks) {
      const made = element("span", "aa-mark", { title: text });
      made.style.left = `${(100 * (start - this.begin)) / this.duration}%`;
      made.style.width = `${(100 * (stop - start)) / this.duration}%`;
      made.textContent = text;
      this.band.before(made);
    }
  }

  tell() {
    this.spoken = this.position();
    this.root.dispatchEvent(new CustomEvent("audioattn:change", { bubbles: true, detail: this.state() }));
  }

  // Other attention over the same sound, from attention_of() in Python: settings of the mechanisms, curves, layers;
  // of all mechanisms, or of one number.
  replace({ mechanisms, curves, layers, reading, number }) {
    const position = this.position();
    const made = mechanisms.map(read);
    const screen = this.plot.querySelector(".aa-screen");
    const lines = screen.querySelector(".aa-curves");
    if (number === undefined || !lines) {
      this.mechanisms = made;
      this.mechanism = Math.min(this.mechanism, made.length - 1);
      for (const old of screen.querySelectorAll(".aa-layer, .aa-curves")) old.remove();
      this.veil.insertAdjacentHTML("afterend", curves);
    } else {
      made[0].title = this.mechanisms[number].title;
      this.mechanisms[number] = made[0];
      for (const old of screen.querySelectorAll(`[data-mechanism="${number}"]`)) old.remove();
      const holder = element("div");
      holder.innerHTML = curves;
      lines.append(...holder.firstElementChild.childNodes);
    }
    this.veil.insertAdjacentHTML("beforebegin", layers);
    const shown = this.root.querySelector(".aa-reading");
    if (shown && (number === undefined || number === this.mechanism)) shown.textContent = reading;
    this.split = null;
    for (const each of this.root.querySelectorAll("[data-mechanism]")) each.toggleAttribute("hidden", Number(each.dataset.mechanism) !== this.mechanism);
    this.cover();
    if (this.graph) { this.offset = position; this.silence(); this.sound(); }
  }

  seek(seconds) {
    this.offset = clamp(seconds, 0, this.duration);
    if (this.selection && this.playing) this.offset = this.inside(this.offset);
    if (this.graph) { this.silence(); this.sound(); }
    this.draw();
    this.tell();
  }

  hear(mode) {
    this.mode = mode;
    const levels = this.mix();
    if (this.graph) {
      const now = context.currentTime;
      this.graph.gains.forEach((gain, i) => {
        gain.cancelScheduledValues(now);
        gain.setValueAtTime(gain.value, now);
        gain.linearRampToValueAtTime(levels[i], now + 2 * FADE);
      });
    }
    this.root.dataset.mode = mode;
    this.cover();
    this.tell();
  }

  choose(mechanism) {
    const position = this.position();
    this.mechanism = mechanism;
    for (const each of this.root.querySelectorAll("[data-mechanism]")) each.toggleAttribute("hidden", Number(each.dataset.mechanism) !== mechanism);
    const reading = this.root.querySelector(".aa-reading");
    if (reading) reading.textContent = this.mechanisms[mechanism].reading;
    this.cover();
    if (this.graph) { this.offset = position; this.silence(); this.sound(); }
    this.tell();
  }

  // Fades the picture by what is not heard.
  cover() {
    if (!this.mechanisms.length) return;
    this.veil.style.opacity = this.mode === "all" ? 0 : 1;
    if (this.mode === "all") return;
    const { cells } = this.mechanisms[this.mechanism];
    const inCells = cells && this.axis;
    const [width, height] = inCells ? [300, 48] : [600, 1];
    const canvas = element("canvas", "", { width, height });
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const seconds = (((i % width) + 0.5) / width) * this.duration;
      const row = (1 - (Math.floor(i / width) + 0.5) / height) * ((this.axis || [0]).length - 1);
      const hertz = inCells && this.axis[Math.floor(row)] + (row % 1) * (this.axis[Math.ceil(row)] - this.axis[Math.floor(row)]);
      const gain = inCells ? cellAt(cells, hertz, seconds) : this.gainAt(seconds);
      image.data[4 * i + 3] = 255 * VEIL * (this.mode === "attended" ? 1 - gain : gain);
    }
    pen.putImageData(image, 0, 0);
    this.veil.style.webkitMaskImage = this.veil.style.maskImage = `url(${canvas.toDataURL()})`;
  }

  tick() {
    if (!this.playing) return;
    this.draw();
    if (Math.abs(this.position() - (this.spoken ?? 0)) > 0.2) this.tell();
    requestAnimationFrame(() => this.tick());
  }

  draw() {
    const position = this.position();
    this.head.style.left = `${(100 * position) / this.duration}%`;
    const at = this.begin + position;
    const now = `${at.toFixed(2)} / ${(this.begin + this.duration).toFixed(2)} s`;
    if (this.clock.textContent !== now) this.clock.textContent = now;
    if (Math.abs(position - (this.told ?? -1)) >= 0.1 || !this.playing) {
      this.told = position;
      this.seekBar.setAttribute("aria-valuenow", at.toFixed(2));
      this.seekBar.setAttribute("aria-valuetext", `${at.toFixed(1)} seconds`);
    }
    const state = this.playing ? "pause" : "play";
    if (this.button.dataset.state !== state) {
      this.button.dataset.state = state;
      this.button.innerHTML = ICONS[state];
      this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    }
  }
}

window.audioattnAwaken("audioattnPlayer", "aa-waiting", (root) => root.querySelector("audio"), (root) => {
  root.audioattn = new Player(root);
}, "@VERSION@");
})();
