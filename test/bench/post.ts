import { once } from "node:events";
import { request, type IncomingMessage, type RequestOptions } from "node:http";

/** Posts JSON with less overhead than `fetch`, so that two cores are left to what is measured. @returns the status */
export async function post(url: string, body: string, options: RequestOptions): Promise<number> {
  const headers = { ...(options.headers as Record<string, string>), "content-type": "application/json" };
  const call = request(url, { ...options, method: "POST", headers });
  call.end(body);
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  answer.resume();
  await once(answer, "end");
  return answer.statusCode ?? 0;
}
