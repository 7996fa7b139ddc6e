// Small tools that paint. Texts from outside become text and nothing else: no markup is ever made of a string.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with a class and either a text or children. */
export function make(name, { className = "", text = null, children = [], title = "" } = {}) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (title) element.title = title;
  if (text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

/** An SVG element with attributes; `text` is its text. */
export function draw(name, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

/** Set a text only where it is another: a screen reader or a selection is not disturbed by what stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

/** Replace the children only where what they say is another. */
export function fill(element, said, makeChildren) {
  const key = JSON.stringify(said);
  if (element.dataset.said === key) return;
  element.dataset.said = key;
  element.replaceChildren(...makeChildren());
}

/** A row of cells; numbers stand to the right. */
export function row(...cells) {
  return make("tr", {
    children: cells.map((cell) =>
      typeof cell === "number"
        ? make("td", { className: "n", text: count(cell) })
        : make("td", { children: [make("bdi", { text: cell })] }),
    ),
  });
}

export const count = (number) => Math.round(number).toLocaleString("en-US");

/** A bar of stretches, each a share of the whole; whatever is anything at all can be seen. */
export function bar(svg, parts) {
  fill(svg, parts, () => {
    let left = 0;
    return parts
      .filter(([, share]) => share > 0)
      .map(([name, share]) => {
        const width = Math.max(4, Math.min(1000 - left, 1000 * share));
        const part = draw("rect", { class: `fill-${name}`, x: left, y: 0, width, height: 10 });
        left += width;
        return part;
      });
  });
}

/** `14:05`, with the day where it is not today, and with seconds where it is to be fine. */
export function clock(seconds, now, { isFine = false } = {}) {
  const time = new Date(seconds * 1000);
  const words = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (isFine) words.second = "2-digit";
  if (time.toDateString() !== new Date(now * 1000).toDateString()) words.weekday = "short";
  if (Math.abs(seconds - now) > 6 * 86400) Object.assign(words, { day: "numeric", month: "short" });
  return time.toLocaleString("en-GB", words);
}
