import { expect } from 'vitest';
import type { Sample } from '../../shared/base/metrics.ts';

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/**
 * Reads the Prometheus text format 0.0.4 strictly: every family is announced once, with help and type, before its samples; ends with a line feed.
 * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format)
 */
export function expectExposition(text: string): Map<string, Sample[]> {
  expect(text.endsWith('\n')).toBe(true);
  const samples = new Map<string, Sample[]>();
  let family = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP (\S+) .+$/.exec(line)?.[1];
    const type = /^# TYPE (\S+) (counter|gauge)$/.exec(line)?.[1];
    if (help !== undefined) {
      expect(samples.has(help), `${help} announced twice`).toBe(false);
      expect(help).toMatch(NAME);
      family = help;
      samples.set(family, []);
    } else if (type !== undefined) expect(type).toBe(family);
    else {
      const [, name = '', labels = '', value = ''] = /^([^\s{]+)(?:\{(.*)\})? (\S+)$/s.exec(line) ?? [];
      expect(name, line).toBe(family);
      expect(value, line).toMatch(/^(NaN|-?\d.*)$/);
      samples.get(family)?.push({ labels: readLabels(labels), value: Number(value) });
    }
  }
  return samples;
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let at = 0;
  while (at < text.length) {
    const [whole = '', name = '', value = ''] = /^,?([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"/.exec(text.slice(at)) ?? [];
    expect(whole, `labels ${text}`).not.toBe('');
    labels[name] = value.replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    at += whole.length;
  }
  return labels;
}

/** What a daemon's metrics door tells. */
export async function readMetrics(port: number): Promise<Map<string, Sample[]>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(response.status).toBe(200);
  return expectExposition(await response.text());
}
