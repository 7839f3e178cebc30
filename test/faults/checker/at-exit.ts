const works = new Set<() => void>();

process.once("exit", () => {
  for (const work of works) work();
});

/** What must not outlive this process, however it ends; disposing it takes that back. */
export function atExit(work: () => void): Disposable {
  works.add(work);
  return { [Symbol.dispose]: () => void works.delete(work) };
}
