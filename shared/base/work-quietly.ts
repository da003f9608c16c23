import { constants, setPriority } from 'node:os';

/** Lets everybody else go first. For a thread: on Linux the priority of 0 is that of the calling thread alone (setpriority(2)), elsewhere of the whole process. */
export function workQuietly(): void {
  if (process.platform === 'linux') setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);
}
