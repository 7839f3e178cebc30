export class Departure {
  constructor(
    /** Local time, without a zone: the record has none. */
    public iso: string,
    public weekday: string,
  ) {}
}

const WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/** Reads `YYYY/MM/DD hh:mm`; null when it is not a time in the calendar. */
export function parseDeparture(text: string): Departure | null {
  if (text.length != 16 || !matches(text, "dddd/dd/dd dd:dd")) return null;
  const year = <i32>parseInt(text.substr(0, 4), 10);
  const month = <i32>parseInt(text.substr(5, 2), 10);
  const day = <i32>parseInt(text.substr(8, 2), 10);
  const hour = <i32>parseInt(text.substr(11, 2), 10);
  const minute = <i32>parseInt(text.substr(14, 2), 10);
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month) || hour > 23 || minute > 59) return null;
  const iso = text.substr(0, 4) + "-" + text.substr(5, 2) + "-" + text.substr(8, 2) + "T" + text.substr(11, 5);
  return new Departure(iso, WEEKDAYS[weekdayOf(year, month, day)]);
}

export function isAirportCode(text: string): bool {
  if (text.length != 3) return false;
  for (let i = 0; i < 3; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x41 || c > 0x5a) return false;
  }
  return true;
}

function matches(text: string, pattern: string): bool {
  for (let i = 0; i < pattern.length; i++) {
    const c = text.charCodeAt(i);
    const wanted = pattern.charCodeAt(i);
    if (wanted == 0x64 ? c < 0x30 || c > 0x39 : c != wanted) return false;
  }
  return true;
}

function daysOf(year: i32, month: i32): i32 {
  if (month == 2) return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/** Sakamoto's method: 0 is Sunday. */
function weekdayOf(year: i32, month: i32, day: i32): i32 {
  const y = month < 3 ? year - 1 : year;
  const shift = month == 1 ? 0 : month == 2 ? 3 : month == 3 ? 2 : month == 4 ? 5 : month == 5 ? 0 : month == 6 ? 3
    : month == 7 ? 5 : month == 8 ? 1 : month == 9 ? 4 : month == 10 ? 6 : month == 11 ? 2 : 4;
  return (y + y / 4 - y / 100 + y / 400 + shift + day) % 7;
}
