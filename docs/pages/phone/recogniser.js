// Samples in, a label per hop out: what `labkit har stream` does.
import { LABELS, Stream } from "./preprocess.js";

// The largest of the probabilities after exponential smoothing, weight 2 / (over + 1), in float32:
// labkit.har.stream.Exponential.
export class Exponential {
  constructor(over) {
    this.weight = Math.fround(2 / (over + 1));
    this.smooth = null;
  }

  push(probabilities) {
    const before = this.smooth ?? probabilities;
    this.smooth = Float32Array.from(probabilities, (p, i) => {
      const step = Math.fround(this.weight * Math.fround(p - before[i]));
      return Math.fround(before[i] + step);
    });
    const index = this.smooth.indexOf(Math.max(...this.smooth));
    return { index, confidence: this.smooth[index], smooth: this.smooth };
  }
}

export class Recogniser {
  // run: takes a window, Float32Array (WINDOW · CHANNELS), and promises its probabilities.
  // tell: is told what each window gives, in their order.
  constructor(run, tell, over = 3) {
    this.run = run;
    this.tell = tell;
    this.over = over;
    this.stream = new Stream();
    this.reset();
  }

  // Forget all samples and labels, and the windows that are still being read.
  reset() {
    this.stream.reset();
    this.smoother = new Exponential(this.over);
    this.queue = Promise.resolve();
  }

  // Take a sample of six values; a promise of its answer if a window ends with it, else null.
  push(values) {
    const start = performance.now();
    const window = this.stream.push(values);
    if (!window) return null;
    const [whole, smoother] = [window.slice(), this.smoother]; // the next samples change them
    this.queue = this.queue.then(async () => {
      const probabilities = await this.run(whole);
      if (smoother !== this.smoother) return null;
      const { index, confidence, smooth } = smoother.push(probabilities);
      const milliseconds = performance.now() - start;
      const answer = { index, label: LABELS[index], confidence, smooth, probabilities, milliseconds };
      this.tell(answer);
      return answer;
    });
    return this.queue;
  }
}
