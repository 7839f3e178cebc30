import { expect } from "vitest";
import type { JobJson, Rest } from "./rest.ts";
import { until } from "./until.ts";

const terminal = new Set(["JOB_STATE_SUCCEEDED", "JOB_STATE_DEAD", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"]);

/** Every job of a queue, by paging through the list. */
export async function allJobs(rest: Rest, queue: string): Promise<JobJson[]> {
  const jobs: JobJson[] = [];
  let token = "";
  do {
    const { status, body } = await rest.call<{ jobs?: JobJson[]; nextPageToken?: string }>(
      "GET",
      `/api/v1/jobs?queue=${queue}&pageSize=500&pageToken=${encodeURIComponent(token)}`,
    );
    if (status !== 200) throw new Error(`list answered ${status}`);
    jobs.push(...(body.jobs ?? []));
    token = body.nextPageToken ?? "";
  } while (token !== "");
  return jobs;
}

/**
 * Jepsen's queue check: every accepted job is accounted for, lost = 0, exactly one row each, and each row terminal.
 * Jobs whose publish was not acknowledged may or may not be there.
 */
export async function expectAllAccountedFor(
  rest: Rest,
  queue: string,
  accepted: ReadonlySet<string>,
  timeoutMs = 60_000,
): Promise<JobJson[]> {
  await until(
    async () => {
      const jobs = await allJobs(rest, queue);
      const ended = new Set(jobs.filter((job) => terminal.has(job.state)).map((job) => job.id));
      return [...accepted].every((id) => ended.has(id)) && ended.size === jobs.length ? true : undefined;
    },
    `${accepted.size} jobs of ${queue} to end`,
    timeoutMs,
  ).catch(async (error: unknown) => {
    const jobs = await allJobs(rest, queue);
    const rows = new Map(jobs.map((job) => [job.id, job.state]));
    const lost = [...accepted].filter((id) => !rows.has(id));
    const unfinished = jobs.filter((job) => !terminal.has(job.state));
    throw new Error(
      `lost ${lost.length} (${lost.slice(0, 5).join(", ")}), unfinished ${unfinished.length} of ${accepted.size} accepted ` +
        `(${unfinished
          .slice(0, 5)
          .map((job) => `${job.id} ${job.state}`)
          .join(", ")})`,
      { cause: error },
    );
  });
  const jobs = await allJobs(rest, queue);
  const ids = jobs.map((job) => job.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect([...accepted].filter((id) => !ids.includes(id))).toEqual([]);
  return jobs;
}
