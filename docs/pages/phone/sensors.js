// What a phone's sensors say, as the samples that the network was trained on.
//
// A browser gives acceleration in m/s² and turn rates in degrees a second, about the axes of the
// phone: x to the right of the screen, y to its top, z out of it. `alpha`, `beta` and `gamma` of a
// rotation rate are the rates about x, y and z in every browser (github.com/w3c/deviceorientation,
// issue 44). The samples are in g and rad/s, with x up, y to the wearer's right and z forward.

export const G = 9.80665;
const RADIAN = Math.PI / 180;
const GAP = 0.5; // seconds without a sample after which everything begins anew, as in labkit.har.stream

// How the phone is worn, its screen away from the body: rows are x, y and z of a sample.
export const WEARINGS = {
  top: [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
  right: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  bottom: [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
  left: [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
};

const turned = (matrix, v) => matrix.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);

// Six values in g and rad/s of a devicemotion event; null if the device has no such sensors.
export function sample(event, wearing, sign) {
  const a = event.accelerationIncludingGravity;
  const r = event.rotationRate;
  const values = [a?.x, a?.y, a?.z, r?.alpha, r?.beta, r?.gamma];
  if (!values.every(Number.isFinite)) return null;
  const matrix = WEARINGS[wearing];
  return [
    ...turned(matrix, values.slice(0, 3)).map((v) => (sign * v) / G),
    ...turned(matrix, values.slice(3)).map((v) => v * RADIAN),
  ];
}

// Which way acceleration counts: a phone that lies on a table, screen up, should say z = +9.8; those
// of Apple say -9.8. Whoever is right is told by the angles of a deviceorientation event, which
// all browsers agree on; until there is one, by the name of the platform.
export class Sign {
  constructor(platform = globalThis.navigator) {
    const mac = platform.platform === "MacIntel" && platform.maxTouchPoints > 1; // an iPad
    this.value = mac || /iPhone|iPad|iPod/.test(platform.userAgent) ? -1 : 1;
    this.up = null;
  }

  // Take a deviceorientation event.
  orient(event) {
    if (!Number.isFinite(event.beta) || !Number.isFinite(event.gamma)) return;
    const [b, c] = [event.beta * RADIAN, event.gamma * RADIAN];
    this.up = [-Math.cos(b) * Math.sin(c), Math.sin(b), Math.cos(b) * Math.cos(c)];
  }

  // Take a devicemotion event; a phone that is shaken says nothing about what is up.
  move(event) {
    const a = event.accelerationIncludingGravity;
    if (!this.up || !a || !Number.isFinite(a.x)) return;
    const along = (a.x * this.up[0] + a.y * this.up[1] + a.z * this.up[2]) / G;
    if (Math.abs(along) > 0.8 && Math.abs(along) < 1.2) this.value = Math.sign(along);
  }
}

// Samples at whatever times, to samples at `rate`: by lines between neighbours.
export class Resampler {
  constructor(rate, onGap = () => {}) {
    this.step = 1 / rate;
    this.onGap = onGap;
    this.reset();
  }

  reset() {
    this.last = null;
    this.count = 0;
  }

  // Take a sample at a time in seconds; the samples that are due now, oldest first.
  push(time, values) {
    if (this.last && time <= this.last.time) return [];
    if (this.last && time - this.last.time > GAP) {
      this.reset();
      this.onGap();
    }
    const before = this.last ?? { time, values };
    if (!this.last) this.start = time;
    this.last = { time, values };
    const due = [];
    for (;;) {
      const next = this.start + this.count * this.step;
      if (next > time) return due;
      const part = time > before.time ? (next - before.time) / (time - before.time) : 0;
      due.push(values.map((v, i) => before.values[i] + part * (v - before.values[i])));
      this.count += 1;
    }
  }
}

// Samples a second over about the last two seconds.
export class Rate {
  constructor() {
    this.times = [];
  }

  push(time) {
    this.times.push(time);
    while (this.times[0] < time - 2) this.times.shift();
    return this.times.length > 10
      ? (this.times.length - 1) / (time - this.times[0])
      : null;
  }
}
