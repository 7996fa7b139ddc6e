// Charts over time as inline SVG: what was spent, and rates against their limits.
// A sample is [at, spent, forecast, budget, done, [requests, limit, tokens, limit], ...].

import { clock, count, draw, fill } from "./paint.js";

const WIDTH_MIN = 240;
const FINE_S = 600; // below that, minutes alone would say little
const LEFT = 4;
const TOP = 34;
const BOTTOM = 20;

/** Dollars over time, the budget line where it is in sight, and the way ahead to the forecast. */
export function moneyChart(holder, samples, { eta_s: etaSeconds, done, planned }, words) {
  const last = samples.at(-1);
  if (!last) return;
  const [at, spent, forecast, budget] = last;
  const from = samples[0][0];
  const elapsed = Math.max(1, at - from);
  const ahead = etaSeconds === null ? 0 : Math.min(etaSeconds, 4 * elapsed);
  const answered = spentWhenAnswered(samples, planned - done);
  const isSeen = ahead === etaSeconds && forecast !== null; // the end of it
  const reached = forecast === null || !etaSeconds ? spent : spent + ((answered - spent) * ahead) / etaSeconds;
  const needed = Math.max(spent, reached, 1e-6);
  const isNear = budget !== null && budget <= 3 * Math.max(needed, forecast ?? 0);
  const high = 1.08 * Math.max(needed, isNear ? budget : 0, isSeen ? forecast : 0);
  const frame = frameOf(holder, { from, to: at + ahead, high, height: 200 });
  const line = samples.map((sample) => [sample[0], sample[1]]);
  const label = `${words.spent} spent${words.simulated}, ${words.budget_words}`;
  paint(holder, [samples.length, last, etaSeconds, words], frame, label, () => [
    ...grid(frame),
    area(frame, line),
    path(frame, line, "used"),
    ...(ahead > 0 ? [path(frame, wayAhead(at, spent, ahead, reached, isSeen ? forecast : reached), "ahead")] : []),
    ...(isNear ? [path(frame, [[from, budget], [frame.to, budget]], "limit-line")] : []),
    ...budgetWords(frame, budget, isNear, words),
    ...aheadWords(frame, at, ahead, isSeen ? forecast : reached, words),
    ...times(frame, at, ahead > 0.12 * (frame.to - from)),
  ]);
}

/** What will be spent when all is answered, at the price of what this process saw. The forecast may be above it: a
 * fine-tuning is paid at once, at the end; what is nearly the forecast is the forecast. */
function spentWhenAnswered(samples, left) {
  const [first, last] = [samples[0], samples.at(-1)];
  const [, spent, forecast, , done] = last;
  if (done <= first[4]) return forecast;
  const answered = spent + ((spent - first[1]) / (done - first[4])) * left;
  return answered > 0.9 * forecast ? forecast : answered;
}

function wayAhead(at, spent, ahead, reached, end) {
  const way = [[at, spent], [at + ahead, reached]];
  return end > reached ? [...way, [at + ahead, end]] : way;
}

/** A rate over time with its limit. `index` is the lane's, `kind` 0 for requests and 2 for tokens. */
export function rateChart(holder, samples, index, kind, words) {
  const points = samples
    .map((sample) => [sample[0], sample[5 + index]?.[kind] ?? null, sample[5 + index]?.[kind + 1] ?? null])
    .filter(([, used]) => used !== null);
  if (points.length === 0) return;
  const most = Math.max(...points.map(([, used, limit]) => Math.max(used, limit ?? 0)), 1);
  const at = samples.at(-1)[0];
  const frame = frameOf(holder, { from: samples[0][0], to: at, high: 1.08 * most, height: 136, top: 12 });
  const line = points.map(([time, used]) => [time, used]);
  const limits = points.filter(([, , limit]) => limit !== null).map(([time, , limit]) => [time, limit]);
  paint(holder, [samples.length, points.at(-1), words], frame, words, () => [
    ...grid(frame),
    area(frame, line),
    path(frame, line, "used"),
    ...(limits.length ? [path(frame, steps(limits, at), "limit-line")] : []),
    draw("text", { x: LEFT, y: frame.y(most) - 4 }, count(most)),
    ...times(frame, at, false),
  ]);
}

/** As many units as the holder has pixels, so that words are as large as elsewhere on the page. */
function frameOf(holder, { from, to, high, height, top = TOP }) {
  const end = Math.max(to, from + 1);
  const width = Math.max(WIDTH_MIN, Math.round(holder.clientWidth));
  return {
    from,
    to: end,
    high,
    height,
    width,
    x: (time) => LEFT + ((time - from) / (end - from)) * (width - 2 * LEFT),
    y: (value) => height - BOTTOM - (Math.min(value, high) / high) * (height - top - BOTTOM),
  };
}

function paint(holder, said, frame, label, makeParts) {
  fill(holder, [frame.width, ...said], () => {
    const svg = draw("svg", { viewBox: `0 0 ${frame.width} ${frame.height}`, role: "img", "aria-label": label });
    svg.append(...makeParts());
    return [svg];
  });
}

const pointsOf = (frame, line) => line.map(([time, value]) => `${frame.x(time).toFixed(1)} ${frame.y(value).toFixed(1)}`);

const path = (frame, line, className) => draw("path", { class: className, d: `M${pointsOf(frame, line).join("L")}` });

function area(frame, line) {
  const ground = frame.y(0);
  const [first, last] = [frame.x(line[0][0]).toFixed(1), frame.x(line.at(-1)[0]).toFixed(1)];
  return draw("path", { class: "area", d: `M${first} ${ground}L${pointsOf(frame, line).join("L")}L${last} ${ground}Z` });
}

/** A limit holds until it is another: a stair, and not a slope. */
function steps(limits, at) {
  const line = [limits[0]];
  for (const [time, limit] of limits.slice(1)) {
    const before = line.at(-1)[1];
    if (before !== limit) line.push([time, before], [time, limit]);
  }
  line.push([at, line.at(-1)[1]]);
  return line;
}

function grid(frame) {
  return [0, 0.5, 1].map((share) => {
    const y = frame.y((share * frame.high) / 1.08);
    return draw("line", { class: "grid", x1: LEFT, x2: frame.width - LEFT, y1: y, y2: y });
  });
}

function budgetWords(frame, budget, isNear, words) {
  if (budget === null) return [];
  const text = isNear ? `budget ${words.budget}` : `budget ${words.budget}, far above ↑`;
  return [draw("text", { class: "limit", x: LEFT, y: isNear ? frame.y(budget) - 6 : 12 }, text)];
}

function aheadWords(frame, at, ahead, reached, words) {
  if (ahead <= 0 || !words.forecast) return [];
  const x = frame.x(at + ahead);
  const y = frame.y(reached) - 8;
  return [draw("text", { class: "strong", x, y, "text-anchor": "end" }, `forecast ${words.forecast}${words.simulated}`)];
}

function times(frame, at, hasNow) {
  const y = frame.height - 4;
  const isFine = frame.to - frame.from < FINE_S;
  const marks = [draw("text", { x: LEFT, y }, clock(frame.from, at, { isFine }))];
  const isRoomy = frame.x(at) > 90 && (!hasNow || frame.x(at) < frame.width - 90);
  if (hasNow && isRoomy) marks.push(draw("text", { x: frame.x(at), y, "text-anchor": "middle" }, "now"));
  const end = clock(frame.to, at, { isFine });
  marks.push(draw("text", { x: frame.width - LEFT, y, "text-anchor": "end" }, end));
  return marks;
}
