import { MillraceError, type ErrorCode } from "@millrace/protocol";
import { errorCodeName, toConnectError } from "@millrace/rpc";

/** Why one job of many was refused, in the words that a call of its own would have got. */
export function refusalOf(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  if (error instanceof MillraceError) return { code: error.code, message: error.message };
  const refused = toConnectError(error);
  return { code: errorCodeName(refused.code), message: refused.rawMessage };
}
