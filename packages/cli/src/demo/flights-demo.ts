import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { JsonObject } from "@bufbuild/protobuf";
import type { DemoCase, DemoOutcome } from "./demo-case.ts";

const packageName = "vega-datasets";
const file = "data/flights-20k.json";

const kmPerMile = 1.609344;
/** Delays in minutes below the bound, by class. */
const delayClasses = [
  [0, "early"],
  [15, "on_time"],
  [60, "late"],
  [180, "very_late"],
  [Number.POSITIVE_INFINITY, "severe"],
] as const;
/** Distances in kilometres below the bound, by class. */
const haulClasses = [
  [1500, "short"],
  [4000, "medium"],
  [Number.POSITIVE_INFINITY, "long"],
] as const;
const weekday = new Intl.DateTimeFormat("en-US", { weekday: "long", timeZone: "UTC" });

/** The records of the plugin `flights`, and its rules once more, written without a look at WASM. */
export const flightsDemo: DemoCase = {
  title: "Flights within the USA in 2001: each record validated, brought into one form and classified by its delay",
  source: `${packageName}, ${file}`,
  type: "clean_flight",
  plugin: "plugins/flights",
  categoryName: "delay",

  async records() {
    // Its entry is build/index.js; the data lies beside build.
    const entry = createRequire(import.meta.url).resolve(packageName);
    return JSON.parse(await readFile(join(dirname(entry), "..", file), "utf8")) as JsonObject[];
  },

  categoryOf({ delay }) {
    if (typeof delay !== "string") throw new Error("the result has no delay class");
    return delay;
  },

  compute({ date, delay, distance, origin, destination }): DemoOutcome {
    const problems: string[] = [];
    const departure = parseDate(date);
    if (departure === undefined) problems.push("date: must be a real date and time like 2001/01/31 06:55");
    if (!isWhole(delay, -1440, 2880)) problems.push("delay: must be a whole number from -1440 to 2880");
    if (!isWhole(distance, 1, 12450)) problems.push("distance: must be a whole number from 1 to 12450");
    const from = airport(origin);
    const to = airport(destination);
    if (from === undefined) problems.push("origin: must be an IATA code of three letters");
    if (to === undefined) problems.push("destination: must be an IATA code of three letters");
    if (from !== undefined && from === to) problems.push(`destination: is the origin, ${from}`);
    if (problems.length > 0 || !isWhole(delay) || !isWhole(distance)) {
      return { accepted: false, reason: problems.join("; ") };
    }
    const distanceKm = Math.round(distance * kmPerMile);
    return {
      accepted: true,
      output: {
        departure: departure?.toISOString().slice(0, 16) ?? "",
        weekday: weekday.format(departure).toLowerCase(),
        route: `${from}-${to}`,
        origin: from ?? "",
        destination: to ?? "",
        distanceKm,
        haul: classOf(haulClasses, distanceKm),
        delayMinutes: delay,
        delay: classOf(delayClasses, delay),
      },
    };
  },
};

/** A local time without a zone, taken as UTC so that this machine's zone has no say. */
function parseDate(text: unknown): Date | undefined {
  if (typeof text !== "string" || !/^\d{4}\/\d\d\/\d\d \d\d:\d\d$/.test(text)) return undefined;
  const date = new Date(`${text.replaceAll("/", "-").replace(" ", "T")}Z`);
  // JavaScript takes 31 April for 1 May.
  if (Number.isNaN(date.getTime()) || date.getUTCDate() !== Number(text.slice(8, 10))) return undefined;
  return date;
}

function airport(code: unknown): string | undefined {
  const text = typeof code === "string" ? code.trim().toUpperCase() : "";
  return /^[A-Z]{3}$/.test(text) ? text : undefined;
}

function isWhole(value: unknown, least = -Infinity, most = Infinity): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

function classOf(classes: readonly (readonly [below: number, name: string])[], value: number): string {
  return classes.find(([below]) => value < below)?.[1] ?? "";
}
