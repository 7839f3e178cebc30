import { MultiBar, Presets } from "cli-progress";

/** How far one of the demo's phases is. */
export interface Phase {
  update(done: number): void;
}

/** Bars on a terminal, a line every two seconds elsewhere. */
export interface Progress extends Disposable {
  phase(name: string, total: number): Phase;
}

const lineMs = 2000;

export function createProgress(stream: NodeJS.WritableStream & { readonly isTTY?: boolean }): Progress {
  return stream.isTTY === true ? createBars(stream) : createLines(stream);
}

function createBars(stream: NodeJS.WritableStream): Progress {
  const bars = new MultiBar(
    { stream, hideCursor: true, fps: 10, format: "{name} {bar} {percentage}%  {value}/{total}  {duration_formatted}" },
    Presets.shades_classic,
  );
  return {
    phase(name, total) {
      const bar = bars.create(total, 0, { name: name.padEnd(9) });
      return { update: (done) => bar.update(done) };
    },
    [Symbol.dispose]: () => bars.stop(),
  };
}

function createLines(stream: NodeJS.WritableStream): Progress {
  return {
    phase(name, total) {
      let saidAt = Date.now();
      let said = -1;
      return {
        update(done) {
          const complete = done === total;
          if (done === said || (!complete && Date.now() - saidAt < lineMs)) return;
          saidAt = Date.now();
          said = done;
          stream.write(`${name} ${done} of ${total}\n`);
        },
      };
    },
    [Symbol.dispose]: () => undefined,
  };
}
