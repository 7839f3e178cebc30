/** @returns false when there is no such process, or it is somebody else's; signal 0 only asks */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
