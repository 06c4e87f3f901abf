// Zoom of an overview, and the part of it that is opened.
(() => {
"use strict";
if (window.audioattnOverview?.version === "@VERSION@") { window.audioattnOverview.wake(); return; }

const MOST = 64;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];

const clock = (seconds, step) => {
  const whole = Math.floor(seconds + 1e-6), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = step < 1 ? (seconds - Math.floor(whole / 60) * 60).toFixed(1).padStart(4, "0") : two(whole % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
};

const build = (root) => {
  const { duration, parts } = JSON.parse(root.dataset.overview);
  const scroll = root.querySelector(".aa-scroll"), strip = root.querySelector(".aa-strip");
  const ticks = root.querySelector(".aa-seconds"), tools = root.querySelector(".aa-tools");
  const make = (kind, settings) => Object.assign(document.createElement(kind), settings);

  const slider = make("input", { type: "range", min: 0, max: Math.log2(MOST), step: 0.25, value: 0 });
  const label = make("label", { textContent: "Zoom" });
  label.append(slider);
  tools.append(label);

  const draw = (zoom) => {
    const room = Math.max(scroll.clientWidth * zoom, 1);
    const step = STEPS.find((s) => duration / s * 70 <= room) || STEPS[STEPS.length - 1];
    ticks.replaceChildren();
    for (let at = 0; at <= duration * 0.995; at += step) {
      const mark = make("span", { textContent: clock(at, step) });
      mark.style.left = `${100 * at / duration}%`;
      ticks.append(mark);
    }
  };
  // What is at ``pivot``, in pixels from the left of what is seen, stays there.
  const zoomTo = (value, pivot) => {
    const before = strip.clientWidth, at = (scroll.scrollLeft + pivot) / before;
    const zoom = 2 ** Math.min(Math.max(value, 0), Math.log2(MOST));
    slider.value = Math.log2(zoom);
    slider.setAttribute("aria-valuetext", `${zoom.toFixed(1)} times`);
    strip.style.width = `${100 * zoom}%`;
    scroll.scrollLeft = at * strip.clientWidth - pivot;
    draw(zoom);
  };
  slider.addEventListener("input", () => zoomTo(Number(slider.value), scroll.clientWidth / 2));
  scroll.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const pivot = event.clientX - scroll.getBoundingClientRect().left;
    zoomTo(Number(slider.value) - event.deltaY / 200, pivot);
  }, { passive: false });

  let chosen = -1, frame = null;
  const mark = make("div", { className: "aa-chosen", hidden: true });
  const back = make("button", { type: "button", textContent: "Previous part" });
  const next = make("button", { type: "button", textContent: "Next part" });
  const name = make("output", { textContent: "Choose a part" });
  const open = (number) => {
    if (number < 0 || number >= parts.length) return;
    chosen = number;
    const part = parts[number];
    if (!frame) {
      frame = make("iframe", { title: "Part of the recording" });
      root.append(frame);
    }
    frame.src = part.address;
    frame.title = `${root.getAttribute("aria-label")}, ${part.name}`;
    mark.hidden = false;
    mark.style.left = `${100 * part.start / duration}%`;
    mark.style.width = `${100 * (part.stop - part.start) / duration}%`;
    const left = mark.offsetLeft, right = left + mark.offsetWidth;
    if (left < scroll.scrollLeft || right > scroll.scrollLeft + scroll.clientWidth) {
      scroll.scrollLeft = (left + right - scroll.clientWidth) / 2;
    }
    name.textContent = part.name;
    back.disabled = number === 0;
    next.disabled = number === parts.length - 1;
  };
  if (parts.length) {
    strip.append(mark);
    tools.append(back, next, name);
    back.disabled = true;
    back.addEventListener("click", () => open(chosen - 1));
    next.addEventListener("click", () => open(chosen + 1));
    strip.addEventListener("click", (event) => {
      const at = duration * (event.clientX - strip.getBoundingClientRect().left) / strip.clientWidth;
      const found = parts.findIndex((part) => at < part.stop);
      open(found < 0 ? parts.length - 1 : found);
    });
    scroll.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      open(Math.max(chosen + step, 0));
    });
  }
  root.classList.add("aa-awake");
  draw(1);
  root.audioattn = { open, zoomTo, get chosen() { return chosen; } };
};

window.audioattnAwaken("audioattnOverview", "aa-overview-waiting", (root) => root.querySelector(".aa-seconds"), build, "@VERSION@");
})();
