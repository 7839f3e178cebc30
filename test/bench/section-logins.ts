import { startStandaloneProcess } from "../lib/standalone.ts";
import { BenchChild, type Figures } from "./child.ts";
import { median } from "./median.ts";
import type { Row } from "./report.ts";

const submitRate = 200;
const loginRate = 50;
const roundSeconds = 5;
const rounds = 4;
const user = { email: "ada@example.com", password: "correct horse battery" };

/** Submitting at a steady rate, in turn alone and while half of a flood of logins knows the password. */
export async function measureLogins(): Promise<Row[]> {
  await using system = await startStandaloneProcess({ MILLRACE_LOG_LEVEL: "error" });
  const { httpUrl: url, rest, token } = system;
  const { status } = await rest.call("POST", "/api/v1/users", { ...user, roles: ["ROLE_PUBLISHER"] });
  if (status !== 200) throw new Error(`adding a user answered ${status}`);
  await using submissions = await BenchChild.start("submit-load.ts", { url, token });
  await using logins = await BenchChild.start("login-flood.ts", { url, ...user });

  const submitting = { perSecond: submitRate, seconds: roundSeconds };
  const flood = { perSecond: loginRate, seconds: roundSeconds };
  await Promise.all([submissions.go(submitting), logins.go(flood)]);
  const alone: Figures[] = [];
  const flooded: Figures[] = [];
  const logs: Figures[] = [];
  for (let round = 0; round < rounds; round++) {
    alone.push(await submissions.go(submitting));
    const [submitted, logged] = await Promise.all([submissions.go(submitting), logins.go(flood)]);
    flooded.push(submitted);
    logs.push(logged);
  }
  const of = (runs: readonly Figures[], key: string) => median(runs.map((run) => run[key]!));
  const sum = (runs: readonly Figures[], key: string) => runs.reduce((all, run) => all + run[key]!, 0);
  const p99 = of(alone, "p99");
  const perSecond = (key: string) => sum(logs, key) / (rounds * roundSeconds);
  return [
    { what: `REST SubmitJob at ${submitRate}/s, p50 alone`, value: of(alone, "p50"), unit: "ms" },
    { what: "the same, p99", value: p99, unit: "ms" },
    { what: `with ${loginRate} logins/s, p50`, value: of(flooded, "p50"), unit: "ms" },
    {
      what: "the same, p99",
      value: of(flooded, "p99"),
      unit: "ms",
      against: [{ name: "alone", value: p99, atMost: 2 }],
    },
    {
      what: "jobs that were not accepted",
      value: sum(alone, "failed") + sum(flooded, "failed"),
      unit: "jobs",
      atMost: 0,
    },
    { what: "logins that came in", value: perSecond("in"), unit: "logins/s" },
    { what: "logins with a wrong password", value: perSecond("wrong"), unit: "logins/s" },
    { what: "logins told to come again", value: perSecond("refused"), unit: "logins/s" },
  ];
}
