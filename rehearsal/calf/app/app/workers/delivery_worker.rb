# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Hands an activity to another instance.
class DeliveryWorker
  include Sidekiq::Job
  sidekiq_options queue: "push", retry: 16

  def perform(json, account_id, inbox_url)
    Calf::HttpSignature.post(inbox_url, json, Account.find(account_id))
  end
end
