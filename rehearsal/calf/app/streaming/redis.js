// SPDX-License-Identifier: GPL-3.0-or-later

import { Redis } from 'ioredis';

const HEARTBEAT_SECONDS = 360;

const settings = (env) => ({
  host: env.REDIS_HOST || 'localhost',
  port: Number(env.REDIS_PORT || 6379),
  db: Number(env.REDIS_DB || 0),
  username: env.REDIS_USER || undefined,
  password: env.REDIS_PASSWORD || undefined,
});

// One connection subscribes, one commands. Several listeners of a channel share a subscription.
export class SubscriptionHub {
  #listeners = new Map();
  #announced = new Set();

  constructor(env, metrics, log) {
    const connect = () => {
      const client = env.REDIS_URL ? new Redis(env.REDIS_URL) : new Redis(settings(env));
      return client.on('error', (error) => log('error', `Redis: ${error.message || error.code}`));
    };
    this.commands = connect();
    this.subscriber = connect();
    this.metrics = metrics;
    this.log = log;
    this.subscriber.on('message', (channel, text) => this.#receive(channel, text));
    setInterval(() => this.#announced.forEach((channel) => this.#announce(channel)), HEARTBEAT_SECONDS * 1000);
  }

  add(channel, listener, { announced = false } = {}) {
    if (!this.#listeners.has(channel)) {
      this.#listeners.set(channel, new Set());
      this.subscriber.subscribe(channel).catch((error) => this.log('error', error.message));
      this.metrics.redisSubscriptions.inc();
    }
    this.#listeners.get(channel).add(listener);
    if (announced && !this.#announced.has(channel)) {
      this.#announced.add(channel);
      this.#announce(channel);
    }
  }

  remove(channel, listener) {
    const listeners = this.#listeners.get(channel);
    if (!listeners?.delete(listener) || listeners.size > 0) return;
    this.#listeners.delete(channel);
    this.#announced.delete(channel);
    this.subscriber.unsubscribe(channel).catch((error) => this.log('error', error.message));
    this.metrics.redisSubscriptions.dec();
  }

  // The application publishes to a person's timeline only while this key says that someone listens.
  #announce(channel) {
    this.commands.set(`subscribed:${channel}`, '1', 'EX', HEARTBEAT_SECONDS * 3)
      .catch((error) => this.log('error', error.message));
  }

  #receive(channel, text) {
    this.metrics.redisMessages.inc();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.log('warn', `no JSON on ${channel}`);
      return;
    }
    this.#listeners.get(channel)?.forEach((listener) => listener(message));
  }
}
