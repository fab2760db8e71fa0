// The network, run by LiteRT.js on WebAssembly.
//
// LiteRT.js 2.5.3 refuses int8 inputs and outputs: the file has a QUANTIZE and a DEQUANTIZE around
// the same integers (labkit.compress.float_ends).
import { CHANNELS, LABELS, WINDOW } from "./preprocess.js";

// A function that takes a window, Float32Array (WINDOW · CHANNELS), and promises probabilities.
export async function load(address) {
  const { Tensor, loadAndCompile, loadLiteRt } = await import("./litert/core/dist/index.js");
  // The runtime logs what it does as errors of the console; only what is none of INFO and WARNING is.
  globalThis.Module = { printErr: (line) => /^(INFO|WARNING): /.test(line) || console.error(line) };
  await loadLiteRt(new URL("./litert/core/wasm/", import.meta.url).href);
  const model = await loadAndCompile(address, { accelerator: "wasm" });
  const run = async (window) => {
    const input = new Tensor(window, [1, WINDOW, CHANNELS]);
    let outputs = [];
    try {
      outputs = await model.run([input]);
      return outputs[0].toTypedArray().slice(0, LABELS.length);
    } finally {
      for (const tensor of [input, ...outputs]) tensor.delete(); // nobody else frees its memory
    }
  };
  await run(new Float32Array(WINDOW * CHANNELS)); // the first one is compiled
  return run;
}
