// A slider over the frames that the markup holds.
(() => {
"use strict";
if (window.audioattnScrubber?.version === "@VERSION@") { window.audioattnScrubber.wake(); return; }

const build = (root) => {
  const { label, values, start } = JSON.parse(root.dataset.scrubber);
  const frames = [...root.querySelectorAll(".aa-frame")];
  const text = document.createElement("label");
  const name = document.createElement("span");
  const slider = document.createElement("input");
  const output = document.createElement("output");
  name.textContent = label;
  Object.assign(slider, { type: "range", min: 0, max: values.length - 1, step: 1 });
  slider.value = start;
  const show = () => {
    const now = Number(slider.value);
    frames.forEach((frame, i) => frame.classList.toggle("aa-current", i === now));
    output.textContent = values[now];
    slider.setAttribute("aria-valuetext", values[now]);
  };
  slider.addEventListener("input", show);
  slider.addEventListener("keydown", (event) => event.stopPropagation());
  text.append(name, slider, output);
  root.querySelector(".aa-scrub").append(text);
  root.classList.add("aa-awake");
  show();
};

window.audioattnAwaken("audioattnScrubber", "aa-scrubber-waiting", (root) => root.querySelector(".aa-scrub"), build, "@VERSION@");
})();
