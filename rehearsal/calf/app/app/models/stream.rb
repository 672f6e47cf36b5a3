# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Where the streaming server listens.
module Stream
  module_function

  def publish(channel, event, payload)
    REDIS.publish(channel, { event:, payload:, queued_at: (Time.now.to_f * 1000).to_i }.to_json)
  end

  # The channels of everybody that a public status appears in.
  def public_channels(status)
    origins = ["timeline:public", "timeline:public:#{status.local? ? "local" : "remote"}"]
    media = status.media_attachments.any? ? origins.map { |channel| "#{channel}:media" } : []
    tags = status.text.scan(/(?<!\w)#(\w+)/).flatten.map(&:downcase).uniq.flat_map do |tag|
      ["timeline:hashtag:#{tag}", *("timeline:hashtag:#{tag}:local" if status.local?)]
    end
    origins + media + tags
  end
end
