// The latest answers with their prompts. While somebody reads one, newer ones wait behind a button.

import { byId, count, make, say, show } from "./paint.js";

const KEPT = 12;
const USUAL = new Set(["stop", "tool_calls"]);
const list = byId("answers");
const newer = byId("newer");
let held = [];

newer.addEventListener("click", () => {
  for (const open of list.querySelectorAll("details[open]")) open.open = false;
  release();
  list.querySelector("summary")?.focus();
});

/** The page begins to listen, or does so again. What somebody reads at the moment stays. */
export function restart(answers, process) {
  const newest = list.dataset.process === String(process) ? Number(list.firstElementChild?.dataset.number ?? 0) : 0;
  list.dataset.process = process;
  held = [];
  if (!isBeingRead()) list.replaceChildren();
  arrived(isBeingRead() ? answers.filter(({ number }) => number > newest) : answers);
}

export function arrived(answers) {
  held.push(...answers);
  held = held.slice(-KEPT);
  if (isBeingRead()) {
    say(newer, held.length === 1 ? "Show 1 newer answer" : `Show ${held.length} newer answers`);
    show(newer, held.length > 0);
  } else release();
}

export function tally(picture) {
  const unseen = picture.answers_arrived - picture.answers_shown;
  const words =
    picture.answers_arrived === 0
      ? "None has arrived since this process began."
      : `${count(picture.answers_arrived)} arrived since this process began. ` +
        (unseen > 0
          ? `At most ${picture.answers_per_second} a second are shown here: ${count(unseen)} were not.`
          : "The latest are shown here.");
  say(byId("answers-words"), words);
}

const isBeingRead = () => list.querySelector("details[open]") !== null || list.contains(document.activeElement);

function release() {
  for (const answer of held) add(answer);
  held = [];
  show(newer, false);
}

function add(answer) {
  list.prepend(shown(answer));
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

function shown(answer) {
  const isUsual = USUAL.has(answer.outcome);
  const facts = make("span", {
    className: "facts",
    children: [
      make("bdi", { className: "step", text: answer.step }),
      make("bdi", { className: isUsual ? "" : "odd", text: answer.outcome }),
      make("span", { text: answer.tokens }),
      make("span", { text: answer.price }),
      make("span", { text: answer.duration }),
    ],
  });
  const asked = make("span", { className: "asked", text: lastAsked(answer.prompt) });
  const preview = make("span", { className: "preview", text: answer.text.slice(0, 400) || "(no text)" });
  const details = make("details", { children: [make("summary", { children: [facts, asked, preview] })] });
  details.dataset.number = answer.number;
  details.addEventListener("toggle", () => open(details, answer), { once: true });
  return details;
}

/** What is asked last, in short: prompts of a step begin alike. */
const lastAsked = (prompt) => prompt.split("\n\nuser: ").at(-1).trim().slice(0, 300);

/** The whole of an answer is put into the page when somebody opens it. */
function open(details, answer) {
  details.append(
    make("div", {
      className: "whole",
      children: [
        make("h3", { text: `Prompt${cut(answer.prompt_cut)}` }),
        make("div", { className: "text", text: answer.prompt || "(not on record)" }),
        make("h3", { text: `Answer${cut(answer.text_cut)}` }),
        make("div", { className: "text", text: answer.text || "(no text)" }),
        make("p", { className: "note", text: `row ${answer.row}, request ${answer.request}` }),
      ],
    }),
  );
}

const cut = (characters) => (characters > 0 ? ` (its beginning: ${count(characters)} more characters are in the run folder)` : "");
