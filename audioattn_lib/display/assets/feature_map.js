// Points of a map that play: one sound at a time.
(() => {
"use strict";
if (window.audioattnMap?.version === "@VERSION@") { window.audioattnMap.wake(); return; }

const REACH = 24; // pixels

const build = (root) => {
  const sounds = JSON.parse(root.dataset.sounds);
  const output = root.querySelector("output");
  const audio = new Audio();
  let current = null;
  const stop = () => {
    audio.pause();
    if (current) current.classList.remove("aa-playing");
    current = null;
  };
  const choose = (point) => {
    const again = point === current;
    stop();
    output.textContent = point.getAttribute("aria-label");
    if (again) return;
    current = point;
    point.classList.add("aa-playing");
    audio.src = sounds[point.dataset.sound];
    audio.play().catch(stop);
  };
  audio.addEventListener("ended", stop);
  for (const point of root.querySelectorAll(".aa-heard")) {
    point.addEventListener("click", () => choose(point));
    point.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      choose(point);
    });
  }
  // A fingertip is larger than a point: a touch beside one means the nearest.
  root.querySelector("svg").addEventListener("click", (event) => {
    if (event.target.closest(".aa-heard")) return;
    const distance = (point) => {
      const box = point.getBoundingClientRect();
      return Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
    };
    const points = [...root.querySelectorAll(".aa-heard")].sort((a, b) => distance(a) - distance(b));
    if (points.length && distance(points[0]) <= REACH) choose(points[0]);
  });
};

window.audioattnAwaken("audioattnMap", "aa-map-waiting", (root) => root.querySelector("output"), build, "@VERSION@");
})();
