// The run's page: listens to the stream of pictures and paints each. What it shows is said by the process, in the same
// words as on the terminal; nothing is worked out here but where a line goes.

import { arrived, restart, tally } from "./answers.js";
import { moneyChart, rateChart } from "./charts.js";
import { bar, byId, clock, count, fill, make, row, say, show } from "./paint.js";

const SAMPLES_MAX = 1500;
const RETRY_MS = 4000;
const SILENCE_MS = 10000;
const EVENTS_SHOWN = 6;
const PARTS = ["completed", "failed", "in_flight", "waiting"];
const NAMES = { completed: "answered", failed: "failed", in_flight: "in flight", waiting: "waiting" };

let samples = [];
let last = null;
let lastAt = 0;
let source = null;

function listen() {
  source?.close();
  source = new EventSource("events");
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.onerror = () => {
    lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

function take(picture) {
  lastAt = performance.now();
  if (picture.history) {
    samples = picture.history;
    restart(picture.answers, picture.began_at);
  } else {
    samples.push(picture.sample);
    if (samples.length > SAMPLES_MAX) samples = thinned(samples);
    arrived(picture.answers);
  }
  last = picture;
  paint(picture);
  document.body.className = picture.is_over ? "is-over" : "is-live";
  show(byId("lost"), picture.is_over);
  if (picture.is_over) sayOver();
}

/** Every other one of the older half. */
function thinned(many) {
  const half = many.length / 2;
  return many.filter((_, index) => index >= half || index % 2 === 0);
}

function lost() {
  if (last?.is_over) return; // that was its last word, and is said already
  document.body.className = "is-lost";
  const when = last ? ` What you see is of ${clock(last.at, last.at)}.` : "";
  say(byId("lost"), `Connection lost, trying again …${when}`);
  byId("main").dataset.level = "quiet"; // whether it still is as it was, nobody here knows
  if (last) say(byId("state"), `last seen ${last.state_words}`);
  show(byId("lost"), true);
  speak("Connection lost, trying again.");
}

function sayOver() {
  const when = clock(last?.at ?? Date.now() / 1000, Date.now() / 1000);
  say(byId("lost"), `The process has ended: this is its last word, of ${when}. The page goes on when a run listens here again.`);
}

function speak(words) {
  say(byId("spoken"), words);
}

/** A connection may die without a word: what says nothing for long is begun anew. */
setInterval(() => {
  const silence = performance.now() - lastAt;
  if (last && silence > SILENCE_MS) lost();
  if (silence > 3 * SILENCE_MS && source.readyState === EventSource.OPEN) {
    lastAt = performance.now();
    addEventListener("resize", () => last && paint(last));
listen();
  }
}, 1000);

// -- painting --------------------------------------------------------------------------------------------------------

function paint(picture) {
  document.title = titleOf(picture);
  paintHead(picture);
  paintProgress(picture);
  paintMoney(picture);
  paintWaiting(picture);
  paintLanes(picture);
  paintFailures(picture.failures);
  paintLater(picture);
  paintOutcomes(picture.outcomes);
  tally(picture);
  say(byId("process"), `This process began at ${clock(picture.began_at, picture.at)}; tunemill ${picture.version}.`);
}

function titleOf(picture) {
  const far = picture.state === "running" ? picture.progress.percent : picture.state_words;
  return `${far} · ${picture.run} · tunemill`;
}

function paintHead(picture) {
  byId("main").dataset.level = picture.level;
  say(byId("run"), picture.run);
  say(byId("state"), picture.state_words);
  say(byId("sentence"), picture.sentence);
  for (const badge of document.querySelectorAll(".badge")) show(badge, picture.simulated);
  fill(byId("trouble"), picture.trouble, () => picture.trouble.map((words) => make("li", { text: words })));
  show(byId("trouble"), picture.trouble.length > 0);
  const key = `${picture.state} ${picture.level}`;
  if (byId("main").dataset.spoken !== key) {
    byId("main").dataset.spoken = key;
    speak(picture.sentence);
  }
}

function paintProgress({ progress, at, elapsed, grace }) {
  say(byId("percent"), progress.percent);
  say(byId("of"), progress.planned ? `${count(progress.done)} of ${count(progress.planned)} requests` : "nothing to generate");
  say(byId("eta"), etaWords(progress, at, grace) || elapsed);
  const share = (name) => (progress.planned ? progress[name] / progress.planned : 0);
  bar(byId("bar"), PARTS.slice(0, 3).map((name) => [name, share(name)]));
  byId("bar").setAttribute("aria-label", `${progress.percent} of the requests are done`);
  const counts = PARTS.map((name) => [name, progress[name]]);
  fill(byId("counts"), [counts, progress.in_flight_words], () => counts.map(([name, number]) => key(name, wordsOf(name, number, progress))));
}

const wordsOf = (name, number, progress) => (name === "in_flight" ? progress.in_flight_words : `${count(number)} ${NAMES[name]}`);

function etaWords(progress, at, grace) {
  if (grace) return grace;
  if (progress.eta_s === null) return "";
  return `${progress.eta} to go, until about ${clock(at + progress.eta_s, at)}`;
}

function key(name, words) {
  const square = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  square.setAttribute("class", "key");
  square.setAttribute("viewBox", "0 0 10 10");
  square.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [attribute, value] of Object.entries({ class: `fill-${name}`, width: 10, height: 10, rx: 3 })) rect.setAttribute(attribute, value);
  square.append(rect);
  return make("li", { children: [square, make("span", { text: words })] });
}

function paintMoney({ money, progress, simulated }) {
  const words = { ...money, simulated: simulated ? " simulated" : "" };
  say(byId("spent"), money.spent);
  say(byId("spent-of"), money.budget ? `${money.used} of ${money.budget} is spent or held` : "spent; no budget");
  say(byId("money-words"), [money.spent_words, money.forecast ? `forecast for the whole run ${money.forecast}` : ""].filter(Boolean).join("; "));
  moneyChart(byId("money-chart"), samples, progress, words);
  say(byId("money-warning"), money.warning);
  show(byId("money-warning"), Boolean(money.warning));
}

function paintWaiting({ waiting, retries, progress }) {
  const nothing = progress.in_flight ? "For answers alone: all that is left is in flight." : "Nothing is left that could wait.";
  const resting = progress.waiting ? "Nothing: the run has ended, and the rest was not sent." : nothing;
  say(byId("waiting-words"), waiting.length ? "Requests that are not sent yet, by what holds them back." : resting);
  const table = byId("waiting");
  show(table, waiting.length > 0);
  fill(table.tBodies[0], waiting, () => waiting.map(({ words, count: number }) => row(words, number)));
  const again = byId("retries");
  show(again, retries.kinds.length > 0);
  fill(again.querySelector("tbody"), retries.kinds, () => retries.kinds.map(({ kind, count: number }) => row(kind, number)));
  say(byId("retry-last"), retries.last);
}

function paintLanes({ lanes }) {
  const holder = byId("lanes");
  fill(holder, lanes.map(({ model }) => model), () => lanes.map(lane));
  lanes.forEach((of, index) => {
    const [requests, tokens] = holder.children[index].querySelectorAll(".rate");
    say(holder.children[index].querySelector(".at-once"), of.at_once);
    for (const [box, words, kind] of [[requests, of.requests, 0], [tokens, of.tokens, 2]]) {
      show(box, Boolean(words));
      if (!words) continue;
      say(box.querySelector("h4"), words);
      rateChart(box.querySelector(".chart"), samples, index, kind, words);
    }
  });
}

function lane({ model }) {
  const rate = () => make("div", { className: "rate", children: [make("h4"), make("div", { className: "chart" })] });
  return make("div", {
    className: "lane",
    children: [
      make("h3", { children: [make("bdi", { text: model || "all models" })] }),
      make("p", { className: "note at-once" }),
      make("div", { className: "pair", children: [rate(), rate()] }),
    ],
  });
}

function paintFailures(failures) {
  show(byId("failures-section"), failures.length > 0);
  fill(byId("failures"), failures, () => failures.map(failure));
}

function failure({ kind, count: number, example }) {
  const heading = make("h3", { children: [make("span", { text: kind }), make("span", { className: "count", text: count(number) })] });
  if (!example) return make("div", { className: "failure", children: [heading, make("p", { className: "note", text: "in an earlier process; failed.jsonl has them" })] });
  const after = example.attempts === 1 ? "after 1 attempt" : example.attempts ? `after ${example.attempts} attempts` : "never sent";
  return make("div", {
    className: "failure",
    children: [
      heading,
      make("p", { children: [make("bdi", { text: example.message })] }),
      make("p", { className: "note", children: [make("bdi", { text: `step ${example.step}, row ${example.row}, ${after}` })] }),
    ],
  });
}

function paintLater({ dataset, fine_tune: job }) {
  show(byId("later-section"), Boolean(dataset || job));
  show(byId("dataset"), Boolean(dataset));
  say(byId("dataset"), dataset ? `Dataset: ${dataset}` : "");
  show(byId("fine-tune"), job !== null);
  if (!job) return;
  say(byId("fine-tune-status"), job.status);
  fill(byId("fine-tune-facts"), job.facts, () =>
    job.facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { children: [make("bdi", { text: value })] })]),
  );
  const events = job.events.slice(-EVENTS_SHOWN).reverse();
  fill(byId("fine-tune-events"), events, () => events.map((words) => make("li", { children: [make("bdi", { text: words })] })));
}

function paintOutcomes(outcomes) {
  show(byId("outcomes-block"), outcomes.length > 0);
  fill(byId("outcomes").tBodies[0], outcomes, () => outcomes.map(({ step, outcome, count: number }) => row(step, outcome, number)));
}

listen();
