import { Host } from "@extism/as-pdk";
import { fail } from "../../lib/assembly/fail";
import { JsonKind, JsonReader, JsonValue, quote } from "../../sdk/assembly/json";
import { isAirportCode, parseDeparture } from "./fields";
import { respond } from "../../lib/assembly/respond";

const KM_PER_MILE: f64 = 1.609344;

/**
 * Takes a flight as vega-datasets' flights-*.json have it (local departure time, delay in minutes, distance in miles)
 * and returns it clean: ISO time, kilometres, route, haul and delay class. Refuses a record with all its problems.
 */
export function clean_flight(): i32 {
  const reader = new JsonReader(Host.inputString());
  const record = reader.read();
  if (reader.problem.length > 0) return fail("not JSON: " + reader.problem);
  if (record.kind != JsonKind.Object) return fail("not a JSON object");

  const problems: string[] = [];
  const departure = parseDeparture(record.stringOr("date", ""));
  if (departure === null) problems.push("date: must be a real date and time like 2001/01/31 06:55");
  const delay = wholeNumber(record, "delay", -1440, 2880, problems);
  const miles = wholeNumber(record, "distance", 1, 12450, problems);
  const origin = airport(record, "origin", problems);
  const destination = airport(record, "destination", problems);
  if (origin.length > 0 && origin == destination) problems.push("destination: is the origin, " + origin);
  if (problems.length > 0 || departure === null) return fail(problems.join("; "));

  const km = <i32>Math.round(<f64>miles * KM_PER_MILE);
  return respond(
    '{"departure":' + quote(departure.iso) + ',"weekday":' + quote(departure.weekday) +
      ',"route":' + quote(origin + "-" + destination) + ',"origin":' + quote(origin) +
      ',"destination":' + quote(destination) + ',"distanceKm":' + km.toString() + ',"haul":' + quote(haul(km)) +
      ',"delayMinutes":' + delay.toString() + ',"delay":' + quote(delayClass(delay)) + "}",
  );
}

/** Eurocontrol's classes of distance. */
function haul(km: i32): string {
  if (km < 1500) return "short";
  return km < 4000 ? "medium" : "long";
}

/** Under 15 minutes counts as on time, as the US Bureau of Transportation Statistics has it. */
function delayClass(minutes: i32): string {
  if (minutes < 0) return "early";
  if (minutes < 15) return "on_time";
  if (minutes < 60) return "late";
  return minutes < 180 ? "very_late" : "severe";
}

function wholeNumber(record: JsonValue, name: string, from: i32, to: i32, problems: string[]): i32 {
  const value = record.numberOr(name, NaN);
  if (value >= <f64>from && value <= <f64>to && Math.floor(value) == value) return <i32>value;
  problems.push(name + ": must be a whole number from " + from.toString() + " to " + to.toString());
  return 0;
}

function airport(record: JsonValue, name: string, problems: string[]): string {
  const code = record.stringOr(name, "").trim().toUpperCase();
  if (isAirportCode(code)) return code;
  problems.push(name + ": must be an IATA code of three letters");
  return "";
}
