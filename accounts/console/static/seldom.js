// Calls at most once in so many milliseconds, a little later, with what was last.
export function seldom(everyMs, call) {
  let timer = 0;
  let last;
  return (value) => {
    last = value;
    timer ||= setTimeout(() => {
      timer = 0;
      call(last);
    }, everyMs);
  };
}
