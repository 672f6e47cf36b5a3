# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The point of no return: a process of the version before finds no key to sign with.
class MovePrivateKeysToKeypairs < ActiveRecord::Migration[7.2]
  disable_ddl_transaction!

  class Account < ActiveRecord::Base
  end

  class Keypair < ActiveRecord::Base
    encrypts :private_key
  end

  def up
    Account.where(domain: nil).where.not(private_key: nil).find_each do |account|
      Account.transaction do
        Keypair.find_or_create_by!(account_id: account.id) { |pair| pair.private_key = account.private_key }
        account.update!(private_key: nil)
      end
    end
  end

  def down
    raise ActiveRecord::IrreversibleMigration
  end
end
