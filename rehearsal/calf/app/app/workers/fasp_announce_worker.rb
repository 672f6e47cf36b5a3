# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class FaspAnnounceWorker
  include Sidekiq::Job
  sidekiq_options queue: "fasp", retry: 5

  def perform(status_id)
    status = Status.find(status_id)
    json = { category: "content", eventType: "new", objectUris: [status.actor_uri] }.to_json
    FaspProvider.confirmed.find_each { |provider| Calf::HttpSignature.post(provider.base_url, json, status.account) }
  end
end
