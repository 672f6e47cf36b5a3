# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/http_signature"

class InboxesController < ActionController::API
  def create
    body = request.raw_post
    account = Calf::HttpSignature.verify!(request, body)
    ProcessingWorker.perform_async(account.id, body)
    head :accepted
  rescue Calf::HttpSignature::Invalid, ArgumentError, URI::Error, JSON::ParserError, SystemCallError, SocketError, Timeout::Error => e
    render json: { error: e.message }, status: :unauthorized
  end
end
