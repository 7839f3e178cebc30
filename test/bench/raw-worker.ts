/** The ceiling for working: raw pulls, one event message for many jobs, acks after its PubAck; nothing else. */
import { connect } from "nats";
import { serveBench } from "./child.ts";

await serveBench<{ port: number; queue: string }>(async ({ port, queue }) => {
  const nc = await connect({ servers: `127.0.0.1:${port}` });
  const pull = `$JS.API.CONSUMER.MSG.NEXT.JOBS_NORMAL.w_${queue}`;
  const request = new TextEncoder().encode(JSON.stringify({ batch: 1000, expires: 30_000_000_000, no_wait: true }));
  return {
    work({ jobs }) {
      const total = Number(jobs);
      return new Promise((resolve) => {
        let start = 0;
        let done = 0;
        let batch: { reply: string; subject: string }[] = [];
        let events = 0;
        const inbox = `_INBOX.w${Math.random().toString(36).slice(2)}`;
        const waiting = new Map<string, { reply: string; subject: string }[]>();
        nc.subscribe(`${inbox}.e.*`, {
          callback(_error, message) {
            const acked = waiting.get(message.subject) ?? [];
            waiting.delete(message.subject);
            for (const { reply } of acked) nc.publish(reply);
            done += acked.length;
            if (done >= total) {
              void nc.flush().then(() => resolve({ perSecond: (done / (performance.now() - start)) * 1000 }));
            }
          },
        });
        const flush = () => {
          if (batch.length === 0) return;
          const reply = `${inbox}.e.${events++}`;
          waiting.set(reply, batch);
          // About what an outcome weighs: subject, times, state.
          nc.publish(
            "events.batch.raw",
            Buffer.from(batch.map(({ subject }) => `${subject} succeeded 1 0000000000000 0000000000000`).join("\n")),
            { reply },
          );
          batch = [];
        };
        let outstanding = 0;
        const ask = () => {
          outstanding = 1000;
          nc.publish(pull, request, { reply: `${inbox}.m` });
        };
        nc.subscribe(`${inbox}.m`, {
          callback(_error, message) {
            if (message.reply === undefined || message.reply === "") {
              flush();
              if (done < total) ask();
              return;
            }
            if (start === 0) start = performance.now();
            batch.push({ reply: message.reply, subject: message.subject });
            if (batch.length >= 500) flush();
            if (--outstanding === 0) ask();
          },
        });
        ask();
      });
    },
    stop: () => nc.close(),
  };
});
