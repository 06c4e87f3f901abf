// The widget of notebooks around the player of pages: player.js comes before it in the same module.
const TOLD = ["playhead", "selection", "mode", "mechanism", "layer"];
const PAUSE = 100; // milliseconds between messages to the kernel
const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

const render = ({ model, el }) => {
  let waiting = null;
  const players = () => [...el.querySelectorAll(".aa-player")].map((root) => root.audioattn).filter(Boolean);
  let current = () => players().find((each) => each.root.closest("details")?.open ?? true) ?? players()[0];

  const send = () => {
    waiting = null;
    const player = current();
    if (!player) return;
    const state = player.state();
    for (const name of TOLD) if (!same(model.get(name), state[name])) model.set(name, state[name]);
    model.save_changes();
  };
  const apply = (name) => {
    const player = current();
    if (player && !same(model.get(name), player.state()[name])) player.set(name, model.get(name));
  };
  const show = () => {
    for (const each of players()) each.pause();
    el.innerHTML = model.get("markup");
    window.audioattnPlayer.wake(el);
    for (const name of ["mode", "layer", "mechanism", "selection"]) apply(name);
    current()?.set("marks", model.get("marks"));
    if (model.get("playhead")) apply("playhead");
  };
  const replace = () => {
    const attention = model.get("attention");
    if (!attention.mechanisms) return;
    for (const each of players()) each.replace(attention);
  };

  el.classList.add("aa-widget");
  show();
  el.addEventListener("audioattn:change", (event) => {
    const told = event.target.audioattn;
    current = () => (told.root.isConnected ? told : players()[0]);
    waiting ??= setTimeout(send, PAUSE);
  });
  model.on("change:markup", show);
  model.on("change:attention", replace);
  model.on("change:marks", () => current()?.set("marks", model.get("marks")));
  for (const name of TOLD) model.on(`change:${name}`, () => { if (waiting === null) apply(name); });
  return () => {
    clearTimeout(waiting);
    for (const each of players()) each.pause();
  };
};
export default { render };
