// The chart of one pair: its published history, then what is seen live. An SVG that this module draws; a number is
// parsed only to place a point, what is shown as text is the text that Postgres wrote.

const SVG = "http://www.w3.org/2000/svg";
const POINTS_MAX = 200;
const WIDTH = 300;
const HEIGHT = 100;

export class Chart {
  /** @type {{ at: number, rate: string }[]} */
  #points = [];
  #visible = false;
  #asked = false;
  #pair;
  #label;
  #area = shape("path", "area");
  #line = shape("path", "line");
  #svg = shape("svg", "");
  #low = document.createElement("span");
  #high = document.createElement("span");
  #since = document.createElement("span");

  /**
   * @param {string} pair   such as `USD_NGN`
   * @param {string} label  what it shows, for those who do not see it
   */
  constructor(pair, label) {
    this.#pair = pair;
    this.#label = label;
    this.element = document.createElement("figure");
    this.element.className = "chart";
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    this.#svg.setAttribute("role", "img");
    this.#svg.append(this.#area, this.#line);
    const words = document.createElement("figcaption");
    words.append(this.#low, this.#since, this.#high);
    this.element.append(this.#svg, words);
  }

  /** A rate that holds from `at` (milliseconds since 1970) on. */
  add(at, rate) {
    const last = this.#points.at(-1);
    if (last && (last.at > at || last.rate === rate)) return;
    this.#points.push({ at, rate });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
    this.#draw();
  }

  /** Came into view, or left it. */
  look(visible) {
    this.#visible = visible;
    this.#draw();
    if (visible && !this.#asked) {
      this.#asked = true;
      this.#fetch();
    }
  }

  async #fetch() {
    const answer = await fetch(`/api/rates/history?pair=${this.#pair}&limit=${POINTS_MAX}`).catch(() => null);
    // Without a history the chart begins with what is seen.
    if (!answer?.ok) return;
    const { points } = await answer.json();
    const first = this.#points[0]?.at ?? Infinity;
    const before = points.map((p) => ({ at: Date.parse(p.at), rate: p.rate })).filter((p) => p.at < first);
    this.#points = [...before, ...this.#points].slice(-POINTS_MAX);
    this.#draw();
  }

  #draw() {
    if (!this.#visible || this.#points.length < 2) return;
    const values = this.#points.map((p) => Number(p.rate));
    const low = values.indexOf(Math.min(...values));
    const high = values.indexOf(Math.max(...values));
    const from = this.#points[0].at;
    const span = this.#points[this.#points.length - 1].at - from || 1;
    const range = values[high] - values[low] || 1;
    const places = this.#points.map((p, i) => {
      const x = ((p.at - from) / span) * WIDTH;
      const y = HEIGHT - 4 - ((values[i] - values[low]) / range) * (HEIGHT - 8);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = `M${places.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
    const [lowest, highest] = [this.#points[low].rate, this.#points[high].rate];
    this.#low.textContent = `low ${lowest}`;
    this.#high.textContent = `high ${highest}`;
    this.#since.textContent = `since ${new Date(from).toLocaleString()}`;
    this.#svg.setAttribute("aria-label", `${this.#label}: ${values.length} values, from ${lowest} to ${highest}`);
  }
}

function shape(name, className) {
  const e = document.createElementNS(SVG, name);
  if (className) e.setAttribute("class", className);
  return e;
}
