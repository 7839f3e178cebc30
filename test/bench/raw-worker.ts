/** The ceiling for working: raw pulls, one event message for many jobs, acks after its PubAck; nothing else. */
import { connect, type Msg } from "nats";
import { serveBench } from "./child.ts";

await serveBench<{ port: number; queue: string }>(async ({ port, queue }) => {
  const nc = await connect({ servers: `127.0.0.1:${port}` });
  const pull = `$JS.API.CONSUMER.MSG.NEXT.JOBS_NORMAL.w_${queue}`;
  const pullSize = 1000;
  const request = new TextEncoder().encode(JSON.stringify({ batch: pullSize, expires: 30_000_000_000, no_wait: true }));
  const inbox = `_INBOX.w${Math.random().toString(36).slice(2)}`;
  const settling = new Map<string, Msg[]>();
  let batch: Msg[] = [];
  let events = 0;
  let outstanding = 0;
  let start = 0;
  let done = 0;
  let onDone = () => {};

  nc.subscribe(`${inbox}.e.*`, {
    callback(_error, { subject }) {
      const jobs = settling.get(subject) ?? [];
      settling.delete(subject);
      for (const { reply } of jobs) nc.publish(reply!);
      done += jobs.length;
      onDone();
    },
  });
  const flush = () => {
    if (batch.length === 0) return;
    const reply = `${inbox}.e.${events++}`;
    settling.set(reply, batch);
    // About what an outcome weighs: subject, times, state.
    const lines = batch.map(({ subject }) => `${subject} succeeded 1 0000000000000 0000000000000`);
    nc.publish("events.batch.raw", Buffer.from(lines.join("\n")), { reply });
    batch = [];
  };
  const ask = () => {
    outstanding = pullSize;
    nc.publish(pull, request, { reply: `${inbox}.m` });
  };
  nc.subscribe(`${inbox}.m`, {
    callback(_error, message) {
      if (message.reply === undefined || message.reply === "") {
        flush();
        ask();
        return;
      }
      if (start === 0) start = performance.now();
      batch.push(message);
      if (batch.length >= 500) flush();
      if (--outstanding === 0) ask();
    },
  });
  ask();
  return {
    async work({ jobs }) {
      await new Promise<void>((resolve) => {
        onDone = () => {
          if (done >= Number(jobs)) resolve();
        };
        onDone();
      });
      await nc.flush();
      const perSecond = (done / (performance.now() - start)) * 1000;
      done = 0;
      start = 0;
      return { perSecond };
    },
    stop: () => nc.close(),
  };
});
