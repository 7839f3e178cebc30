import { expect, it } from "vitest";
import { flightsDemo } from "./flights-demo.ts";

const record = { date: "2001/01/31 00:47", delay: 66, distance: 1750, origin: "DTW", destination: "LAS" };

it("reads well over ten thousand records, each of which passes", async () => {
  const records = await flightsDemo.records();
  expect(records.length).toBe(20_000);
  expect(records.filter((found) => !flightsDemo.compute(found).accepted)).toEqual([]);
});

it("brings a record into one form", () => {
  expect(flightsDemo.compute(record)).toEqual({
    accepted: true,
    output: {
      departure: "2001-01-31T00:47",
      weekday: "wednesday",
      route: "DTW-LAS",
      origin: "DTW",
      destination: "LAS",
      distanceKm: 2816,
      haul: "medium",
      delayMinutes: 66,
      delay: "very_late",
    },
  });
});

it.each([
  [{ date: "2001/02/29 10:00" }, "date: must be a real date and time like 2001/01/31 06:55"],
  [{ delay: 1.5 }, "delay: must be a whole number from -1440 to 2880"],
  [
    { distance: 0, origin: "?" },
    "distance: must be a whole number from 1 to 12450; origin: must be an IATA code of three letters",
  ],
  [{ destination: " dtw" }, "destination: is the origin, DTW"],
])("refuses %j", (change, reason) => {
  expect(flightsDemo.compute({ ...record, ...change })).toEqual({ accepted: false, reason });
});
