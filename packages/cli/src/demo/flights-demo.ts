import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { JsonObject } from "@bufbuild/protobuf";
import type { DemoCase, DemoOutcome } from "./demo-case.ts";

const file = "data/flights-20k.json";
const packageEntry = "vega-datasets";

export const flightsDemo: DemoCase = {
  title: "Flights: 20,000 departures of 2001, each validated and classified by its delay",
  source: `${packageEntry}, ${file}`,
  type: "clean_flight",
  plugin: "plugins/flights",
  categoryName: "delay",
  async records() {
    const entry = createRequire(import.meta.url).resolve(packageEntry);
    const text = await readFile(join(dirname(entry), "..", file), "utf8");
    return JSON.parse(text) as JsonObject[];
  },
  read: (output) => output as unknown as DemoOutcome,
  compute: () => ({ accepted: false, reason: "" }),
};
