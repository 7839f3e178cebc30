/** Loaded into the process under test (`node --expose-gc --import`): collects garbage on SIGUSR2, and says what is left. */
import process from "node:process";

const { gc } = globalThis;
if (gc === undefined) throw new Error("needs --expose-gc");

process.on("SIGUSR2", () => {
  void Promise.resolve(gc({ execution: "async", type: "major" }))
    .then(() => gc({ execution: "async", type: "major" }))
    .then(() => {
      const { rss, heapUsed, external } = process.memoryUsage();
      process.stderr.write(`memory ${JSON.stringify({ rss, heapUsed, external })}\n`);
    });
});
