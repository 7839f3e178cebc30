/** A slow answer is not a late one: what is asked anew after the time is over counts, too. */
const leastTries = 5;

/**
 * Asks again until `check` gives a value, for things that only a query can tell.
 * @throws Error with the last failure after `timeoutMs`
 */
export async function until<T>(check: () => Promise<T | undefined>, what: string, timeoutMs = 20_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (let tries = 1; tries <= leastTries || Date.now() < end; tries++) {
    try {
      const value = await check();
      if (value !== undefined) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause: last });
}
