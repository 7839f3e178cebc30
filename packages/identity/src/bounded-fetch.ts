import type { CustomFetchOptions } from "openid-client";

/** A discovery document has some 5 kB, a set of keys or tokens hardly more. */
const mostAnswerBytes = 1024 * 1024;

/**
 * `fetch` for those who are not ours: an answer that does not end is not read to its end.
 * @throws RangeError for an answer of more than 1 MiB
 */
export async function boundedFetch(url: string, options: CustomFetchOptions): Promise<Response> {
  const { body, ...others } = options;
  const sent = body instanceof Uint8Array ? new Uint8Array(body) : (body ?? null);
  const response = await fetch(url, { ...others, body: sent });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (size > mostAnswerBytes) throw new RangeError(`${url} answers more than ${mostAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  const { status, headers } = response;
  // Some statuses may have no body, not even an empty one.
  return new Response(size === 0 ? null : Buffer.concat(chunks), { status, headers });
}
