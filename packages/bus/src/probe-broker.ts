import type { Bus } from "./bus.ts";

const probeTimeoutMs = 1_500;

/** Whether the broker answers and stores, for health: a connection that is there says nothing of a broker that hangs. */
export async function probeBroker(
  bus: Pick<Bus, "connected" | "flush" | "unstored">,
  timeoutMs = probeTimeoutMs,
): Promise<string | undefined> {
  if (!bus.connected) return "no connection to the broker";
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, `the broker has not answered within ${timeoutMs} ms`);
  });
  const answered = bus.flush().then(
    () => undefined,
    () => "the connection to the broker was lost",
  );
  try {
    return (await Promise.race([answered, late])) ?? bus.unstored;
  } finally {
    clearTimeout(timer);
  }
}
