/** The parts that speak to a broker on each broker that people run, and the store on each PostgreSQL; one table at the end. */
import { debianNats } from "@millrace/bus/testing";
import { readOptions, refuse } from "../lib/read-options.ts";
import { debianPostgres, fetchServers } from "./fetch-servers.ts";
import { formatTable, type Row } from "./format-table.ts";
import { brokerParts, databaseParts, runPart, type Part } from "./run-part.ts";

const versions: Record<"broker" | "database", readonly string[]> = {
  broker: debianNats.map(({ version }) => version),
  database: debianPostgres.map(({ version }) => version),
};
const parts = [...brokerParts, ...databaseParts].map(({ name }) => name);
const usage = `usage: npm run test:matrix -- [options], each as often as you like
  --broker VERSION    of nats-server: ${versions.broker.join(", ")}
  --database VERSION  of PostgreSQL: ${versions.database.join(", ")}
  --part NAME         ${parts.join(", ")}
Without --broker and --database all of both, without --part all parts.`;
const values = readOptions(
  {
    broker: { type: "string", multiple: true },
    database: { type: "string", multiple: true },
    part: { type: "string", multiple: true },
  },
  usage,
);
for (const [name, known] of Object.entries({ ...versions, part: parts })) {
  const wrong = values[name as keyof typeof values]?.find((one) => !known.includes(one));
  if (wrong !== undefined) refuse(`--${name} ${wrong} is not known`, usage);
}
// Who names brokers only means no database, and the other way round.
const some = values.broker !== undefined || values.database !== undefined;
const wants = (chosen: readonly string[] | undefined, version: string): boolean => chosen?.includes(version) ?? !some;
const wanted = (parts: readonly Part[]): Part[] =>
  parts.filter(({ name }) => values.part === undefined || values.part.includes(name));

const { brokers, databases } = await fetchServers();
const rows: Row[] = [];
for (const { version, binary } of brokers) {
  if (!wants(values.broker, version)) continue;
  rows.push(await runAll(`nats-server ${version}`, wanted(brokerParts), { MILLRACE_TEST_NATS_BIN: binary }));
}
for (const { version, binDir, pgbouncer } of databases) {
  if (!wants(values.database, version)) continue;
  const env = { MILLRACE_TEST_POSTGRES_BIN: binDir, MILLRACE_TEST_PGBOUNCER_BIN: pgbouncer };
  rows.push(await runAll(`PostgreSQL ${version}`, wanted(databaseParts), env));
}
console.log(`\n${formatTable(rows)}`);
const results = rows.flatMap(({ cells }) => [...cells.values()]);
process.exitCode = results.length > 0 && results.every(({ ok }) => ok) ? 0 : 1;

async function runAll(server: string, parts: readonly Part[], env: NodeJS.ProcessEnv): Promise<Row> {
  const row: Row = { server, cells: new Map() };
  for (const part of parts) {
    const result = await runPart(server, part, env);
    row.cells.set(part.name, result);
    console.log(`${result.ok ? "ok    " : "FAILED"} ${server}: ${part.name} (${result.seconds.toFixed(0)} s)`);
  }
  return row;
}
