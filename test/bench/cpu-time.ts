import { readFileSync } from "node:fs";

/** What Linux counts a process's time in. */
const tickUs = 10_000;

/**
 * How long all threads of these processes have run, µs: what a machine that does other things disturbs least.
 * See https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; NaN on other systems.
 */
export function cpuTimeUs(...pids: readonly number[]): number {
  if (process.platform !== "linux") return Number.NaN;
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name, in parentheses, and may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * tickUs;
}
