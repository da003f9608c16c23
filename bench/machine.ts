import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import os from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a figure was measured on. */
export async function describeMachine(): Promise<Record<string, string | number>> {
  const git = await run('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname }).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  );
  const dirty = await run('git', ['status', '--porcelain'], { cwd: import.meta.dirname }).then(
    ({ stdout }) => (stdout === '' ? '' : '+changes'),
    () => '',
  );
  const congestion = await readFile('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').then(
    (text) => text.trim(),
    () => 'unknown',
  );
  return {
    commit: `${git}${dirty}`,
    node: process.version,
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryMiB: Math.round(os.totalmem() / 1048576),
    kernel: os.release(),
    congestionControl: congestion,
    load: Math.round((os.loadavg()[0] ?? 0) * 10) / 10,
    at: new Date().toISOString(),
  };
}

/** Resident memory of a process in KiB. */
export async function rssOf(pid: number): Promise<number> {
  return statusField(pid, 'VmRSS');
}

/** Times the process went to sleep by itself and was woken, all its threads together. */
export async function wakeUpsOf(pid: number): Promise<number> {
  let sum = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const status = await readFile(`/proc/${pid}/task/${thread}/status`, 'utf8').catch(() => '');
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return sum;
}

/** CPU seconds a process has used, all its living threads together, to the nanosecond. */
export async function cpuOf(pid: number): Promise<number> {
  let nanoseconds = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    // A thread may end between the two looks.
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0');
    nanoseconds += Number(text.split(' ')[0]);
  }
  return nanoseconds / 1e9;
}

async function statusField(pid: number, field: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
}

/** CPU time of the whole machine since it started, all cores together: not idle, and all there was. */
export async function machineTimes(): Promise<{ busy: number; all: number }> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const times = line.split(/\s+/).slice(1).map(Number);
  const all = times.slice(0, 8).reduce((sum, time) => sum + time, 0);
  return { busy: all - (times[3] ?? 0) - (times[4] ?? 0), all };
}
