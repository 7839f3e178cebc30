import process from "node:process";

/**
 * Imported first: Extism brings in Node's WASI, which Node calls experimental on the terminal at each start. Other warnings
 * are shown as always.
 */
const show = process.listeners("warning");
process.removeAllListeners("warning");
process.on("warning", (warning) => {
  if (warning.name === "ExperimentalWarning") return;
  for (const listener of show) listener(warning);
});
