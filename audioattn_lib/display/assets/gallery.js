// A gallery of clips: one player at a time, or two of the same clip, loaded when they are wanted, with addresses of their own.
(() => {
"use strict";
if (window.audioattnGallery?.version === "@VERSION@") { window.audioattnGallery.wake(); return; }

const element = (tag, name, attributes = {}, text = "") => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
};

// A script file hands its content over in a property of its element: a page from a disk may fetch nothing else.
const load = (url) => new Promise((resolve, reject) => {
  const script = element("script", "", { src: url });
  script.addEventListener("load", () => {
    script.remove();
    if (script.audioattnContent === undefined) reject(new Error("is empty")); else resolve(script.audioattnContent);
  });
  script.addEventListener("error", () => { script.remove(); reject(new Error("is not there")); });
  document.head.append(script);
});

class Gallery {
  constructor(root) {
    this.root = root;
    const { clips, start } = JSON.parse(root.dataset.gallery);
    this.clips = clips;
    this.places = [element("div", "aa-gallery-place"), element("div", "aa-gallery-place")];
    this.turn = 0;
    this.build();
    const wanted = this.asked();
    this.show(wanted?.clip ?? start, { mechanism: wanted?.mechanism, beside: wanted?.beside });
    if (wanted) root.scrollIntoView({ block: "start" });
    window.addEventListener("hashchange", () => {
      const asked = this.asked();
      if (asked && (asked.clip !== this.shown || asked.mechanism !== this.mechanism(0))) this.show(asked.clip, asked);
    });
  }

  build() {
    const name = `aa-gallery-${Math.random().toString(36).slice(2)}`;
    const list = element("div", "aa-gallery-list", { role: "radiogroup", "aria-label": "Clip" });
    this.inputs = this.clips.map(({ rule, title, answers }, i) => {
      const item = element("label");
      const input = element("input", "", { type: "radio", name, value: i, "aria-label": `${rule}: ${title}. ${answers}` });
      const text = element("span");
      text.append(element("b", "", {}, rule), element("span", "", {}, title), element("small", "", {}, answers));
      input.addEventListener("change", () => this.show(i, { mechanism: this.mechanism(0), beside: this.mechanism(1), isAsked: true }));
      item.append(input, text);
      list.append(item);
      return input;
    });
    const bar = element("div", "aa-gallery-bar");
    const label = element("label");
    this.two = element("input", "", { type: "checkbox" });
    this.two.addEventListener("change", () => this.compare());
    label.append(this.two, "Two side by side");
    this.link = element("a", "", {}, "Link to this clip");
    this.status = element("span", "", { role: "status" });
    bar.append(label, this.link, this.status);
    this.pair = element("div", "aa-gallery-pair");
    this.pair.append(...this.places);
    this.places[1].hidden = true;
    this.root.querySelector(".aa-gallery-without").replaceWith(list, bar, this.pair);
    this.places[0].addEventListener("audioattn:change", () => this.tell());
  }

  // What the address of the page asks for: #clip=...&mechanism=...
  asked() {
    const given = new URLSearchParams(location.hash.slice(1));
    const clip = this.clips.findIndex((each) => each.clip === given.get("clip"));
    return clip < 0 ? null : { clip, mechanism: given.get("mechanism") ?? undefined, beside: given.get("beside") ?? undefined };
  }

  player(place) { return this.places[place].querySelector("figure.aa-player")?.audioattn; }

  mechanism(place) {
    return this.places[place].hidden ? undefined : this.player(place)?.state().mechanism || undefined;
  }

  async show(number, { mechanism, beside, isAsked = false } = {}) {
    const turn = ++this.turn;
    const clip = this.clips[number];
    this.inputs[number].checked = true;
    this.status.textContent = clip.markup ? "" : "Loading …";
    try {
      clip.markup ??= await load(clip.file);
    } catch (error) {
      if (turn === this.turn) this.status.textContent = `The clip cannot be loaded: its file ${error.message}.`;
      return;
    }
    if (turn !== this.turn) return;
    this.status.textContent = "";
    this.shown = number;
    this.fill(0, mechanism);
    const several = this.player(0).mechanisms.length > 1;
    this.two.disabled = !several;
    if (beside && several) this.two.checked = true;
    this.places[1].hidden = !(this.two.checked && several);
    if (!this.places[1].hidden) this.fill(1, beside ?? this.other());
    this.tell(isAsked);
  }

  // A mechanism that is not shown on the left.
  other() {
    const titles = this.player(0).mechanisms.map(({ title }) => title);
    return titles[(titles.indexOf(this.mechanism(0)) + 1) % titles.length];
  }

  fill(place, mechanism) {
    this.player(place)?.pause();
    this.places[place].innerHTML = this.clips[this.shown].markup;
    window.audioattnPlayer.wake(this.places[place]);
    if (mechanism) this.player(place).set("mechanism", mechanism);
  }

  compare() {
    this.places[1].hidden = !this.two.checked;
    if (this.two.checked) this.fill(1, this.other()); else this.player(1)?.pause();
    this.tell();
  }

  tell(isAsked = false) {
    if (this.shown === undefined || !this.player(0)) return;
    const given = new URLSearchParams({ clip: this.clips[this.shown].clip });
    for (const [name, place] of [["mechanism", 0], ["beside", 1]]) {
      const title = this.mechanism(place);
      if (title) given.set(name, title);
    }
    const address = `#${given}`;
    this.link.setAttribute("href", address);
    // The address follows a choice of the reader, and no page that was just opened.
    if (isAsked || location.hash.startsWith("#clip=")) {
      if (location.hash !== address) history.replaceState(null, "", address);
    }
  }
}

window.audioattnAwaken("audioattnGallery", "aa-gallery-waiting", (root) => root.querySelector(".aa-gallery-without") && window.audioattnPlayer, (root) => {
  root.audioattn = new Gallery(root);
}, "@VERSION@");
})();
