// Positions of the log: two numbers, compared as such.

export function isBehind(left, right) {
  const [leftMs, leftNumber] = parts(left);
  const [rightMs, rightNumber] = parts(right);
  return leftMs < rightMs || (leftMs === rightMs && leftNumber < rightNumber);
}

// When Redis appended it, in milliseconds, by its own clock.
export const timeOf = (position) => parts(position)[0];

// Without the log's id, if it has one.
export const bare = (position) => position.split("@")[0];

const parts = (position) => bare(position).split("-").map(Number);
