// A line of values over time: what was before, then what is seen live. An SVG that this module draws; a value is parsed
// only to place a point, what is shown as text is the text that came.

const SVG = "http://www.w3.org/2000/svg";
export const POINTS_MAX = 200;
const WIDTH = 300;
const HEIGHT = 100;

/** @typedef {{ at: number, value: string }} Point  at: milliseconds since 1970 */

export class Chart {
  /** @type {Point[]} */
  #points = [];
  /** @type {number[]} of each point, from the left, of `WIDTH` */
  #places = [];
  #visible = false;
  #asked = false;
  /** @type {number | null} the point that is read */
  #read = null;
  #label;
  #load;
  #say;
  #area = shape("path", "area");
  #line = shape("path", "line");
  #hair = shape("line", "hair");
  #svg = shape("svg", "");
  #low = document.createElement("span");
  #high = document.createElement("span");
  #since = document.createElement("span");

  /**
   * @param {string} label  what it shows, for those who do not see it
   * @param {{ load?: () => Promise<Point[]>, say?: (value: string) => string, readable?: boolean }} [options]
   *   load: what was before, asked for when it comes into view; say: a value for people; readable: pointer and arrow
   *   keys read single points
   */
  constructor(label, { load, say = (value) => value, readable = false } = {}) {
    this.#label = label;
    this.#load = load;
    this.#say = say;
    this.element = document.createElement("figure");
    this.element.className = "chart";
    this.#svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    this.#svg.setAttribute("role", "img");
    this.#svg.append(this.#area, this.#line, this.#hair);
    const words = document.createElement("figcaption");
    words.append(this.#low, this.#since, this.#high);
    this.element.append(this.#svg, words);
    if (readable) this.#makeReadable();
  }

  /**
   * A value that holds from `at` on.
   *
   * @param {number} at
   * @param {string} value
   */
  add(at, value) {
    const last = this.#points.at(-1);
    if (last && (last.at > at || last.value === value)) return;
    this.sample(at, value);
  }

  /**
   * A value that was measured: the same one again is a point, too.
   *
   * @param {number} at
   * @param {string} value
   */
  sample(at, value) {
    this.#points.push({ at, value });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
    this.#draw();
  }

  /**
   * Came into view, or left it.
   *
   * @param {boolean} visible
   */
  look(visible) {
    this.#visible = visible;
    this.#draw();
    if (visible && !this.#asked) {
      this.#asked = true;
      this.#fetch();
    }
  }

  async #fetch() {
    // Without a history the chart begins with what is seen.
    const history = (await this.#load?.().catch(() => null)) ?? [];
    const first = this.#points[0]?.at ?? Infinity;
    this.#points = [...history.filter((p) => p.at < first), ...this.#points].slice(-POINTS_MAX);
    this.#draw();
  }

  #draw() {
    if (!this.#visible || this.#points.length < 2) return;
    const values = this.#points.map((p) => Number(p.value));
    const low = values.indexOf(Math.min(...values));
    const high = values.indexOf(Math.max(...values));
    const from = this.#points[0].at;
    const span = this.#points[this.#points.length - 1].at - from || 1;
    const range = values[high] - values[low] || 1;
    this.#places = this.#points.map((p) => ((p.at - from) / span) * WIDTH);
    const places = this.#places.map((x, i) => {
      const y = HEIGHT - 4 - ((values[i] - values[low]) / range) * (HEIGHT - 8);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = `M${places.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
    const [lowest, highest] = [low, high].map((i) => this.#say(this.#points[i].value));
    this.#low.textContent = `low ${lowest}`;
    this.#high.textContent = `high ${highest}`;
    this.#svg.setAttribute("aria-label", `${this.#label}: ${values.length} values, from ${lowest} to ${highest}`);
    this.#point();
  }

  #makeReadable() {
    this.#svg.setAttribute("tabindex", "0");
    this.#svg.addEventListener("pointermove", (e) => {
      const { left, width } = this.#svg.getBoundingClientRect();
      const x = ((e.clientX - left) / width) * WIDTH;
      const after = this.#places.findIndex((p) => p >= x);
      const nearer = after > 0 && x - this.#places[after - 1] < this.#places[after] - x ? after - 1 : after;
      this.#read = after < 0 ? this.#places.length - 1 : nearer;
      this.#point();
    });
    for (const left of ["pointerleave", "blur"]) {
      this.#svg.addEventListener(left, () => {
        this.#read = null;
        this.#point();
      });
    }
    this.#svg.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[/** @type {KeyboardEvent} */ (e).key];
      if (step === undefined || !this.#places.length) return;
      e.preventDefault();
      const last = this.#places.length - 1;
      this.#read = Math.max(0, Math.min(last, (this.#read ?? last) + step));
      this.#point();
    });
  }

  #point() {
    const point = this.#read === null ? undefined : this.#points[this.#read];
    this.#hair.toggleAttribute("hidden", !point);
    if (this.#read === null || !point) {
      this.#since.textContent = this.#points.length ? `since ${new Date(this.#points[0].at).toLocaleString()}` : "";
      this.#since.removeAttribute("aria-live");
      return;
    }
    const x = this.#places[this.#read].toFixed(1);
    for (const [name, value] of [["x1", x], ["x2", x], ["y1", "0"], ["y2", String(HEIGHT)]]) {
      this.#hair.setAttribute(name, value);
    }
    this.#since.setAttribute("aria-live", "polite");
    this.#since.textContent = `${new Date(point.at).toLocaleString()}: ${this.#say(point.value)}`;
  }
}

/**
 * @param {string} name
 * @param {string} className
 */
function shape(name, className) {
  const e = document.createElementNS(SVG, name);
  if (className) e.setAttribute("class", className);
  return e;
}
