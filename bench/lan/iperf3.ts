import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { addressOf } from './network.ts';
import type { Contestant } from './race.ts';

const Report = z.object({ end: z.object({ sum_received: z.object({ bits_per_second: z.number() }) }) });
const SETTLE = 400;

/** What one TCP stream of as many bytes takes to one device, whose content is nobody's: the calibration of the links. */
export const iperf3: Contestant = async (race) => {
  race.start(0, ['iperf3', '--server', '--one-off'], path.join(race.folder(0), 'iperf3.out'));
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const report = path.join(race.folder(1), 'iperf3.json');
  await race.go();
  const command = ['iperf3', '--client', addressOf(0), '--reverse', '--bytes', String(race.content.size), '--json'];
  await race.start(1, command, report).succeeded();
  const { end } = Report.parse(JSON.parse(await readFile(report, 'utf8')));
  return { copies: [], details: { receivedMbit: end.sum_received.bits_per_second / 1e6 } };
};
