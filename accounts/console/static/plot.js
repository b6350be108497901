// Draws an account's balance over time, in the page's colours.

const HEIGHT = 220;
const FEW = 60; // steps that are marked, each
const DAY_S = 24 * 60 * 60;
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Plot {
  #place;
  #plot = null;
  #points = [[], []];
  #sized = new ResizeObserver(() => this.#plot?.setSize(this.#size()));

  constructor(place) {
    this.#place = place;
    this.#sized.observe(place);
    dark.addEventListener("change", () => this.#begin());
  }

  // Seconds since 1970, and amounts in whole units, of the same number; `meaning` says it in words.
  show(seconds, amounts, meaning) {
    this.#points = [seconds, amounts];
    this.#place.hidden = seconds.length === 0;
    this.#place.setAttribute("aria-label", meaning);
    if (this.#plot) this.#plot.setData(this.#points);
    else this.#begin();
  }

  #begin() {
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#place.hidden) return;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { y: false },
      scales: { y: { range: (_, low, high) => withRoom(Math.min(0, low), Math.max(0, high)) } },
      axes: [
        { ...axis, space: 70, values: (_, times, index, space, step) => times.map((time) => showTick(time, step)) },
        { ...axis, size: 80 },
      ],
      series: [
        {},
        {
          stroke: colour("--accent"),
          fill: colour("--fill"),
          width: 2,
          paths: uPlot.paths.stepped({ align: 1 }),
          points: { show: () => this.#points[0].length < FEW, size: 5 },
        },
      ],
    };
    this.#plot = new uPlot(options, this.#points, this.#place);
  }

  #size() {
    return { width: Math.max(200, this.#place.clientWidth), height: HEIGHT };
  }
}

function showTick(seconds, stepSeconds) {
  const exactness =
    stepSeconds >= DAY_S
      ? { day: "numeric", month: "short", year: "2-digit" }
      : { hour: "2-digit", minute: "2-digit", ...(stepSeconds < 60 && { second: "2-digit" }) };
  return new Date(seconds * 1000).toLocaleString("en-GB", exactness);
}

const withRoom = (low, high) => [low * 1.1, high * 1.1 || 1];
